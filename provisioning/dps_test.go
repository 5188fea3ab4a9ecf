package provisioning_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"go.uber.org/goleak"

	"giantlizard.example/failover/lab/memnet"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// certificate is valid for example.com, also in the year 2000, in which the clock of a bubble starts.
var certificate, roots = func() (tls.Certificate, *x509.CertPool) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return s.TLS.Certificates[0], pool
}()

type (
	identity = provisioning.Identity
	request  = provisioning.Request
)

const (
	unavailable = provisioning.Unavailable
	throttled   = provisioning.Throttled
	refused     = provisioning.Refused
)

const secret = "a shared access key of 32 bytes!"

func key() (transport.Key, error) {
	return transport.ParseKey(base64.StdEncoding.EncodeToString([]byte(secret)))
}

// A dps answers as its script says, also as the real DPS would not.
type dps struct {
	*testing.T
	network *memnet.Network
	script  func(*conn, question)
	connack byte
	suback  byte // 0xff means no SUBACK
	mu      sync.Mutex
	asked   []question
	left    int // how many DISCONNECTs have come
}

// A question is a request that has reached DPS.
type question struct {
	number    int // from 0
	at        time.Time
	topic     string
	rid       string
	operation string // is empty if the request is no poll
	body      string
}

// A conn is a connection to a dps.
type conn struct {
	*tls.Conn
	serial int
}

// inBubble runs a test with a scripted DPS and a fake clock.
func inBubble(t *testing.T, script func(*conn, question), test func(d *dps)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &dps{T: t, network: memnet.New(), script: script, suback: 1}
		listener, err := d.network.Listen("example.com:8883")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				raw, err := listener.Accept()
				if err != nil {
					return
				}
				go func() {
					defer raw.Close()
					d.serve(&conn{Conn: tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{certificate}})})
				}()
			}
		}()
		t.Cleanup(func() { listener.Close() })
		test(d)
	})
}

func (d *dps) serve(c *conn) {
	for {
		packet, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		switch m := packet.(type) {
		case *packets.ConnectPacket:
			a := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
			a.ReturnCode = d.connack
			a.Write(c)
		case *packets.SubscribePacket:
			if d.suback != 0xff {
				a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
				a.MessageID, a.ReturnCodes = m.MessageID, []byte{d.suback}
				a.Write(c)
			}
		case *packets.PublishPacket:
			d.script(c, d.record(m))
		case *packets.DisconnectPacket:
			d.mu.Lock()
			d.left++
			d.mu.Unlock()
		case *packets.PingreqPacket:
			packets.NewControlPacket(packets.Pingresp).Write(c)
		}
	}
}

func (d *dps) record(m *packets.PublishPacket) question {
	_, query, _ := strings.Cut(m.TopicName, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		d.Error(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	q := question{len(d.asked), time.Now(), m.TopicName, values.Get("$rid"), values.Get("operationId"),
		string(m.Payload)}
	d.asked = append(d.asked, q)
	return q
}

func (d *dps) questions() []question {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]question(nil), d.asked...)
}

// answer sends an answer whose topic ends in more.
func (c *conn) answer(status int, rid, more, body string) {
	c.send(fmt.Sprintf("$dps/registrations/res/%d/?$rid=%s%s", status, rid, more), body)
}

func (c *conn) send(topic, body string) {
	m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	c.serial++
	m.TopicName, m.Payload, m.Qos, m.MessageID = topic, []byte(body), 1, uint16(c.serial)
	m.Write(c)
}

const (
	assigning = `{"operationId":"op1","status":"assigning"}`
	assigned  = `{"operationId":"op1","status":"assigned",` +
		`"registrationState":{"assignedHub":"hub.example","deviceId":"dev1","substatus":"initialAssignment"}}`
)

// assignedTo is an answer that assigns a hub.
func assignedTo(hub string) string {
	return `{"status":"assigned","registrationState":{"assignedHub":"` + hub + `"}}`
}

var theHub = provisioning.Assignment{Hub: "hub.example", DeviceID: "dev1", Substatus: "initialAssignment"}

func (d *dps) request() provisioning.Request {
	return provisioning.Request{
		Identity: provisioning.Identity{
			ProvisioningHost: "example.com", IDScope: "0ne1", RegistrationID: "dev1", Key: key,
			ModelID: "dtmi:Sample:Failover;1",
		},
		Link: transport.Link{Dial: d.network.DialContext, RootCAs: transport.FixedRoots(roots)},
	}
}

func (d *dps) register() (provisioning.Assignment, error) {
	return provisioning.Register(d.Context(), d.request())
}

func (d *dps) wantHub() {
	d.Helper()
	if a, err := d.register(); err != nil || a != theHub {
		d.Errorf("got %+v, %v", a, err)
	}
}

// wantError registers, checks that it fails with a verdict, and returns the error.
func (d *dps) wantError(want provisioning.Verdict, parts ...string) *provisioning.Error {
	d.Helper()
	a, err := d.register()
	var e *provisioning.Error
	if !errors.As(err, &e) || a != (provisioning.Assignment{}) {
		d.Fatalf("got %+v, %v", a, err)
	}
	if e.Verdict != want || !errors.Is(err, want) || e.Host != "example.com" {
		d.Errorf("the verdict is %s: %v", e.Verdict, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			d.Errorf("%v does not contain %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "sig=") || strings.Contains(err.Error(), secret) {
		d.Errorf("%v shows the key", err)
	}
	return e
}

func (d *dps) wantTook(since time.Time, want time.Duration) {
	d.Helper()
	if took := time.Since(since); took != want {
		d.Errorf("it took %v, want %v", took, want)
	}
}

func waitFor(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
