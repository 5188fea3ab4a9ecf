package emulator_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	paho "github.com/eclipse/paho.mqtt.golang"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const device = "dev1"

// A world is a cloud with the network to it.
type world struct {
	*emulator.Cloud
	*testing.T
	network *memnet.Network
}

// inBubble runs a test with a cloud in memory and a fake clock. A goroutine that does not end is a
// deadlock and fails the test.
func inBubble(t *testing.T, config emulator.Config, test func(t *testing.T, w world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		config.Listen = network.Listen
		observe := config.Observe
		config.Observe = func(e emulator.Event) {
			if e.Kind == emulator.KindViolation && e.Refusal == "" {
				t.Errorf("%q does not name its refusal", e.Text)
			}
			if observe != nil {
				observe(e)
			}
		}
		test(t, world{emulator.ForTest(t, config), t, network})
	})
}

// A peer is a real MQTT client with the messages that it received.
type peer struct {
	world
	paho.Client
	lost    chan error
	code    byte // of CONNACK
	present bool // session present in CONNACK

	mu       sync.Mutex
	received []paho.Message
}

// A login holds the parameters of a CONNECT. The zero value of a field means a valid value.
type login struct {
	hub, device             string
	clientID, username, sas string
	clean                   bool
	keepAlive               time.Duration
	version                 uint
	tokenLife               time.Duration
	manualAck               bool
	will                    string
	dial                    func(ctx context.Context, network, address string) (net.Conn, error)
}

// sas returns a token as the documents describe it.
func sas(resource string, key []byte, expires time.Time, more string) string {
	encoded := url.QueryEscape(resource)
	se := fmt.Sprint(expires.Unix())
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(encoded + "\n" + se))
	return "SharedAccessSignature sr=" + encoded + "&sig=" +
		url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))) + "&se=" + se + more
}

func deviceKey(cloud *emulator.Cloud, id string) []byte {
	group, _ := base64.StdEncoding.DecodeString(cloud.GroupKey())
	mac := hmac.New(sha256.New, group)
	mac.Write([]byte(id))
	return mac.Sum(nil)
}

func (l login) complete(w world) login {
	if l.device == "" {
		l.device = device
	}
	if l.clientID == "" {
		l.clientID = l.device
	}
	if l.tokenLife == 0 {
		l.tokenLife = time.Hour
	}
	if l.version == 0 {
		l.version = 4
	}
	if l.dial == nil {
		l.dial = new(net.Dialer).DialContext
		if w.network != nil {
			l.dial = w.network.DialContext
		}
	}
	expires := time.Now().Add(l.tokenLife)
	if l.hub == "" {
		if l.username == "" {
			l.username = w.IDScope() + "/registrations/" + l.device + "/api-version=2019-03-31&ClientVersion=test%2F1"
		}
		if l.sas == "" {
			l.sas = sas(w.IDScope()+"/registrations/"+l.device, deviceKey(w.Cloud, l.device), expires,
				"&skn=registration")
		}
		return l
	}
	host := w.Hub(l.hub)
	if l.username == "" {
		l.username = host + "/" + l.device + "/?api-version=2021-04-12&model-id=dtmi%3ASample%3AFailover%3B1"
	}
	if l.sas == "" {
		l.sas = sas(host+"/devices/"+l.device, deviceKey(w.Cloud, l.device), expires, "")
	}
	return l
}

// connect tries to connect once. The peer is disconnected at the end of the test.
func (w world) connect(l login) (*peer, error) {
	l = l.complete(w)
	address := w.DPSHost()
	if l.hub != "" {
		address = w.Hub(l.hub)
	}
	p := &peer{world: w, lost: make(chan error, 1)}
	options := paho.NewClientOptions().AddBroker("tls://" + address).
		SetClientID(l.clientID).SetUsername(l.username).SetPassword(l.sas).SetCleanSession(l.clean).
		SetAutoReconnect(false).SetConnectRetry(false).SetProtocolVersion(l.version).
		SetKeepAlive(l.keepAlive).SetConnectTimeout(10 * time.Second).SetWriteTimeout(time.Second).
		SetAutoAckDisabled(l.manualAck).SetOrderMatters(true).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { p.onMessage(m) }).
		SetConnectionLostHandler(func(_ paho.Client, err error) { p.lost <- err }).
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
			return dialTLS(w, l.dial, address)
		})
	if l.will != "" {
		options.SetWill(l.will, "gone", 1, false)
	}
	p.Client = paho.NewClient(options)
	token := p.Connect().(*paho.ConnectToken)
	token.Wait()
	p.code, p.present = token.ReturnCode(), token.SessionPresent()
	if token.Error() == nil {
		w.Cleanup(p.close)
	}
	return p, token.Error()
}

func dialTLS(w world, dial func(context.Context, string, string) (net.Conn, error), address string) (net.Conn, error) {
	raw, err := dial(w.Context(), "tcp", address)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(address)
	conn := tls.Client(raw, &tls.Config{RootCAs: w.CAPool(), ServerName: host})
	if err := conn.HandshakeContext(w.Context()); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// close sends DISCONNECT. In a bubble it waits until the cloud has handled it.
func (p *peer) close() {
	p.Disconnect(250)
	if p.network != nil {
		synctest.Wait()
	}
}

// mustConnect connects, after assigning the device to the hub if it has none.
func (w world) mustConnect(l login) *peer {
	w.Helper()
	id := l.device
	if id == "" {
		id = device
	}
	if l.hub != "" && w.HubOf(id) == "" {
		if err := w.Assign(id, l.hub); err != nil {
			w.Fatal(err)
		}
	}
	p, err := w.connect(l)
	if err != nil {
		w.Fatalf("connect: %v", err)
	}
	return p
}

// refusal returns the CONNACK code of a login that must fail; 0xff means that there was no CONNACK.
func (w world) refusal(l login) byte {
	w.Helper()
	p, err := w.connect(l)
	if err == nil {
		w.Fatal("the login was accepted")
	}
	if p.code == 0 || p.code >= 0xfe {
		return 0xff
	}
	return p.code
}

func (p *peer) onMessage(m paho.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.received = append(p.received, m)
}

func (p *peer) messages() []paho.Message {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.received)
}

// topics returns the topic and body of each received message.
func (p *peer) topics() []string {
	var topics []string
	for _, m := range p.messages() {
		topics = append(topics, strings.TrimSpace(m.Topic()+" "+string(m.Payload())))
	}
	return topics
}

func (p *peer) mustSubscribe(filters ...string) {
	p.Helper()
	for _, filter := range filters {
		token := p.Subscribe(filter, 1, nil)
		if !token.WaitTimeout(time.Minute) || token.Error() != nil {
			p.Fatalf("subscribe to %s: %v", filter, token.Error())
		}
		if granted := token.(*paho.SubscribeToken).Result()[filter]; granted != 1 {
			p.Fatalf("subscribe to %s: granted %#x", filter, granted)
		}
	}
}

func (p *peer) mustPublish(topic, body string) {
	p.Helper()
	token := p.Publish(topic, 1, false, body)
	if !token.WaitTimeout(time.Minute) || token.Error() != nil {
		p.Fatalf("publish to %s: %v", topic, token.Error())
	}
}

// mustLose waits for the end of the connection, at most for this time, and returns the error.
func (p *peer) mustLose(within time.Duration) error {
	p.Helper()
	select {
	case err := <-p.lost:
		return err
	case <-time.After(within):
		p.Fatal("the connection is still there")
		return nil
	}
}

// wantViolation checks that exactly one rule was broken, with this text.
func (w world) wantViolation(part string) {
	w.Helper()
	violations := w.Violations()
	if len(violations) != 1 || !strings.Contains(violations[0], part) {
		w.Errorf("violations are %q, want one with %q", violations, part)
	}
}

func (w world) wantNoViolation() {
	w.Helper()
	if violations := w.Violations(); len(violations) > 0 {
		w.Errorf("violations: %q", violations)
	}
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return o
}
