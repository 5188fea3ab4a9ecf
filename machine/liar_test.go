package machine_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"giantlizard.example/failover/lab/memnet"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/statefile"
	"giantlizard.example/failover/transport"
)

// A liar is a hub that says what the test wants it to say.
type liar struct {
	net.Conn
	raw net.Conn
	mu  sync.Mutex
}

func (p *liar) next() packets.ControlPacket {
	packet, err := packets.ReadPacket(p)
	if err != nil {
		return nil
	}
	return packet
}
func (p *liar) send(packet packets.ControlPacket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = packet.Write(p)
}
func (p *liar) pub(topic, payload string, qos byte, id uint16) {
	m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	m.TopicName, m.Payload, m.MessageID, m.Qos = topic, []byte(payload), id, qos
	p.send(m)
}
func (p *liar) welcome() {
	if _, ok := p.next().(*packets.ConnectPacket); ok {
		a := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
		p.send(a)
	}
}
func (p *liar) puback(id uint16) {
	a := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
	a.MessageID = id
	p.send(a)
}
func (p *liar) suback(m *packets.SubscribePacket) {
	a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	a.MessageID, a.ReturnCodes = m.MessageID, m.Qoss
	p.send(a)
}
func (p *liar) basics(packet packets.ControlPacket) {
	switch m := packet.(type) {
	case *packets.SubscribePacket:
		p.suback(m)
	case *packets.UnsubscribePacket:
		a := packets.NewControlPacket(packets.Unsuback).(*packets.UnsubackPacket)
		a.MessageID = m.MessageID
		p.send(a)
	case *packets.PingreqPacket:
		p.send(packets.NewControlPacket(packets.Pingresp))
	}
}

var fakeCert, fakePool = func() (tls.Certificate, *x509.CertPool) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter: time.Date(2049, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA:     true, BasicConstraintsValid: true, DNSNames: []string{"hub.example"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	c, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(c)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}()

// fakeWorld is a device whose cached hub is script; memory or sockets.
func fakeWorld(t *testing.T, inMemory bool, change func(*machine.Settings), script func(p *liar)) *world {
	t.Helper()
	w := &world{t: t, ran: make(chan error, 1), news: make(chan struct{}, 1)}
	listen, addr := func(a string) (net.Listener, error) { return net.Listen("tcp", a) }, "127.0.0.1:0"
	if inMemory {
		w.network = memnet.New()
		listen, addr = w.network.Listen, "hub.example:8883"
	}
	l, err := listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer raw.Close()
				defer context.AfterFunc(ctx, func() { raw.Close() })()
				conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{fakeCert}})
				if conn.Handshake() == nil {
					script(&liar{Conn: conn, raw: raw})
				}
			})
		}
	})
	t.Cleanup(func() { cancel(); l.Close(); wg.Wait() })
	dir := t.TempDir()
	dps := "dps.example:8883"
	cache := provisioning.Cache{
		File:     statefile.At(filepath.Join(dir, "assignment.json")),
		Identity: provisioning.Identity{ProvisioningHost: dps, IDScope: "0ne1", RegistrationID: deviceID},
	}
	if err := cache.File.Save(cache.Content(provisioning.Assignment{Hub: l.Addr().String(),
		DeviceID: deviceID})); err != nil {
		t.Fatal(err)
	}
	s := machine.Settings{
		Identity: machine.Identity{
			ProvisioningHost: dps, IDScope: "0ne1", RegistrationID: deviceID,
			Key: machine.DeviceKey("bm90IHRoaXMgZGV2aWNlJ3Mga2V5IGF0IGFsbA=="),
		},
		Storage:   machine.Storage{StateDir: dir},
		Delivery:  machine.Delivery{Unpaced: true},
		Link:      machine.Link{RootCAs: transport.FixedRoots(fakePool)},
		Observers: []func(machine.Record){w.observe},
	}
	if inMemory {
		s.Link.Dial = w.network.DialContext
	}
	if change != nil {
		change(&s)
	}
	s.Storage.InMemory = s.Storage.InMemory || s.Storage.StateDir == ""
	w.device, err = machine.New(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.tell)
	return w
}
