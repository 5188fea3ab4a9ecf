package service_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// A testDevice is a device on a real MQTT client. It answers the method echo with its payload, and other
// methods with 404, except mute, and keeps the desired patches that it has received.
type testDevice struct {
	world
	paho.Client
	patches chan string
}

func (w world) options(address, id, username, password string) *paho.ClientOptions {
	return paho.NewClientOptions().AddBroker("tls://" + address).SetClientID(id).SetUsername(username).
		SetPassword(password).SetAutoReconnect(false).SetProtocolVersion(4).SetOrderMatters(false).
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
			raw, err := w.dial(w.Context(), "tcp", address)
			if err != nil {
				return nil, err
			}
			conn := tls.Client(raw, &tls.Config{RootCAs: w.CAPool(), ServerName: "127.0.0.1"})
			return conn, conn.HandshakeContext(w.Context())
		})
}

// connect connects a device to a hub with a key, or returns the error of CONNECT.
func (w world) connect(hub, id, key string) (*testDevice, error) {
	w.Helper()
	address := w.Hub(hub)
	password := sign(address+"/devices/"+id, key, time.Now().Add(time.Hour))
	d := &testDevice{world: w, patches: make(chan string, 10)}
	d.Client = paho.NewClient(w.options(address, id, address+"/"+id+"/?api-version=2021-04-12", password))
	if err := finished(d.Connect()); err != nil {
		return nil, err
	}
	w.Cleanup(func() { d.Disconnect(250) })
	for filter, handle := range map[string]paho.MessageHandler{
		"$iothub/methods/POST/#": d.onMethod,
		"$iothub/twin/PATCH/properties/desired/#": func(_ paho.Client, m paho.Message) {
			d.patches <- string(m.Payload())
		},
	} {
		if err := finished(d.Subscribe(filter, 0, handle)); err != nil {
			w.Fatal(err)
		}
	}
	return d, nil
}

func (w world) mustConnect(hub, id, key string) *testDevice {
	w.Helper()
	d, err := w.connect(hub, id, key)
	if err != nil {
		w.Fatalf("%s at hub %s: %v", id, hub, err)
	}
	return d
}

func finished(token paho.Token) error {
	if !token.WaitTimeout(time.Minute) {
		return errors.New("nothing happened for a minute")
	}
	return token.Error()
}

func (d *testDevice) onMethod(_ paho.Client, m paho.Message) {
	name, rid, _ := strings.Cut(strings.TrimPrefix(m.Topic(), "$iothub/methods/POST/"), "/?$rid=")
	switch name {
	case "echo":
		d.Publish("$iothub/methods/res/200/?$rid="+rid, 0, false, m.Payload())
	case "mute":
	default:
		d.Publish("$iothub/methods/res/404/?$rid="+rid, 0, false, "")
	}
}

// A registered is the state that DPS returns to a device, or the body of its error.
type registered struct {
	Status            string
	ErrorCode         int
	RegistrationState struct{ AssignedHub, DeviceID, Substatus string }
}

// register registers at DPS with a key, and polls until the assignment is decided. The error is that of
// CONNECT.
func (w world) register(id, key string) (result registered, err error) {
	w.Helper()
	password := sign(w.IDScope()+"/registrations/"+id, key, time.Now().Add(time.Hour)) + "&skn=registration"
	username := w.IDScope() + "/registrations/" + id + "/api-version=2019-03-31"
	client := paho.NewClient(w.options(w.DPSHost(), id, username, password))
	if err := finished(client.Connect()); err != nil {
		return registered{}, err
	}
	defer client.Disconnect(250)
	answers := make(chan paho.Message, 1)
	if err := finished(client.Subscribe("$dps/registrations/res/#", 1, func(_ paho.Client, m paho.Message) {
		answers <- m
	})); err != nil {
		w.Fatal(err)
	}
	topic, body := "$dps/registrations/PUT/iotdps-register/?$rid=1", fmt.Sprintf(`{"registrationId":%q}`, id)
	for {
		client.Publish(topic, 1, false, body)
		m := <-answers
		var got struct {
			registered
			OperationID string
		}
		if err := json.Unmarshal(m.Payload(), &got); err != nil {
			w.Fatalf("%v: %s", err, m.Payload())
		}
		if !strings.HasPrefix(m.Topic(), "$dps/registrations/res/202/") {
			return got.registered, nil
		}
		topic, body = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId="+got.OperationID, ""
		_, seconds, _ := strings.Cut(m.Topic(), "&retry-after=")
		wait, _ := time.ParseDuration(seconds + "s")
		time.Sleep(wait)
	}
}

// mustRegister wants the registration to be assigned.
func (w world) mustRegister(id, key string) registered {
	w.Helper()
	got, err := w.register(id, key)
	if err != nil || got.Status != "assigned" {
		w.Fatalf("%s: %+v, %v", id, got, err)
	}
	return got
}
