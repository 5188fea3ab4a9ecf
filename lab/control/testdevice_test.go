package control_test

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
	"strings"
	"sync"
	"sync/atomic"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// A testDevice is a device on a real MQTT client. It answers the method echo with its payload and other
// methods with 404, acknowledges all desired properties, and records its commands.
type testDevice struct {
	world
	paho.Client
	mute atomic.Bool // it answers no methods

	mu       sync.Mutex
	commands []string // "name parameter"
	desired  []string // patches
}

// newTestDevice connects dev1 to its hub, or to A if it has none. It disconnects at the end of the test.
func (w world) newTestDevice() *testDevice {
	w.Helper()
	if w.HubOf(device) == "" {
		if err := w.Assign(device, "A"); err != nil {
			w.Fatal(err)
		}
	}
	g := &testDevice{world: w}
	address := w.Hub(w.HubOf(device))
	g.Client = paho.NewClient(paho.NewClientOptions().AddBroker("tls://" + address).
		SetClientID(device).SetUsername(address + "/" + device + "/?api-version=2021-04-12&model-id=" +
		url.QueryEscape(model)).
		SetPassword(w.signature(address + "/devices/" + device)).
		SetCleanSession(false).SetAutoReconnect(false).SetProtocolVersion(4).SetOrderMatters(false).
		SetDefaultPublishHandler(g.onCommand). // for messages that arrive before this client has subscribed
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return g.openTLS(address) }))
	g.wait(g.Connect())
	w.Cleanup(func() { g.Disconnect(250) })
	g.wait(g.Subscribe("$iothub/methods/POST/#", 0, g.onMethod))
	g.wait(g.Subscribe("$iothub/twin/PATCH/properties/desired/#", 0, g.onDesiredPatch))
	g.wait(g.Subscribe("devices/"+device+"/messages/devicebound/#", 1, g.onCommand))
	return g
}

func (w world) signature(resource string) string {
	key, err := w.DeviceKey(device)
	if err != nil {
		w.Fatal(err)
	}
	secret, _ := base64.StdEncoding.DecodeString(key)
	signed := fmt.Sprintf("%s\n%d", url.QueryEscape(resource), time.Now().Add(time.Hour).Unix())
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signed))
	sr, se, _ := strings.Cut(signed, "\n")
	return "SharedAccessSignature sr=" + sr + "&sig=" +
		url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))) + "&se=" + se
}

func (g *testDevice) openTLS(address string) (net.Conn, error) {
	raw, err := g.dial(g.Context(), "tcp", address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{RootCAs: g.CAPool(), ServerName: "127.0.0.1"})
	return conn, conn.HandshakeContext(g.Context())
}

func (g *testDevice) wait(token paho.Token) {
	g.Helper()
	if !token.WaitTimeout(time.Minute) || token.Error() != nil {
		g.Fatalf("the device: %v", token.Error())
	}
}

func (g *testDevice) onMethod(_ paho.Client, m paho.Message) {
	name, rid, _ := strings.Cut(strings.TrimPrefix(m.Topic(), "$iothub/methods/POST/"), "/?$rid=")
	if g.mute.Load() {
		return
	}
	status, body := 404, []byte(nil)
	if name == "echo" || name == "part*echo" {
		status, body = 200, m.Payload()
	}
	g.Publish(fmt.Sprintf("$iothub/methods/res/%d/?$rid=%s", status, rid), 0, false, body)
}

func (g *testDevice) onDesiredPatch(_ paho.Client, m paho.Message) {
	var patch map[string]any
	_ = json.Unmarshal(m.Payload(), &patch)
	at := patch["$version"]
	delete(patch, "$version")
	text, _ := json.Marshal(patch)
	g.mu.Lock()
	g.desired = append(g.desired, string(text))
	g.mu.Unlock()
	acknowledged, _ := json.Marshal(acknowledge(patch, at))
	g.Publish(fmt.Sprintf("$iothub/twin/PATCH/properties/reported/?$rid=%v", at), 1, false, acknowledged)
}

func acknowledge(patch map[string]any, at any) map[string]any {
	acks := map[string]any{}
	for name, value := range patch {
		component, _ := value.(map[string]any)
		switch {
		case name == "__t":
			acks[name] = value
		case component["__t"] == "c":
			acks[name] = acknowledge(component, at)
		default:
			acks[name] = map[string]any{"value": value, "ac": 200, "av": at, "ad": "completed"}
		}
	}
	return acks
}

func (g *testDevice) onCommand(_ paho.Client, m paho.Message) {
	_, properties, _ := strings.Cut(m.Topic(), "devicebound/")
	values, _ := url.ParseQuery(properties)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.commands = append(g.commands, values.Get("method-name")+" "+string(m.Payload()))
}

// waitUntil waits for a condition of the cloud.
func (w world) waitUntil(what string, condition func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	if err := w.Wait(ctx, condition); err != nil {
		w.Fatalf("%s: %v", what, err)
	}
}

// patches waits for n acknowledged patches and returns all received patches.
func (g *testDevice) patches(n int) []string {
	g.Helper()
	g.waitUntil("the acknowledgement", func() bool {
		_, _, _, reported := g.Twin(device)
		return reported > n
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.desired
}
