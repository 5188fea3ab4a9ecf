package emulator_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// fieldsOf returns the fields of a connection string.
func fieldsOf(t *testing.T, connectionString string) map[string]string {
	t.Helper()
	fields := map[string]string{}
	for field := range strings.SplitSeq(connectionString, ";") {
		name, value, _ := strings.Cut(field, "=")
		fields[name] = value
	}
	if len(fields) != 3 || fields["HostName"] == "" || fields["DeviceId"] == "" || fields["SharedAccessKey"] == "" {
		t.Fatalf("%q does not have the three fields", connectionString)
	}
	return fields
}

// connectsWith connects like a device that knows nothing but its connection string. It returns the
// connection and the code of CONNACK.
func (w world) connectsWith(connectionString string) (net.Conn, byte) {
	w.Helper()
	fields := fieldsOf(w.T, connectionString)
	host, id := fields["HostName"], fields["DeviceId"]
	key, err := base64.StdEncoding.DecodeString(fields["SharedAccessKey"])
	if err != nil {
		w.Fatal(err)
	}
	address := host
	if !strings.Contains(host, ":") {
		address += ":8883"
	}
	conn, err := dialTLS(w, login{}.complete(w).dial, address)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { conn.Close() })
	_, err = conn.Write(connectPacket(4, 0xc2, 0, id, host+"/"+id+"/?api-version=2021-04-12",
		sas(host+"/devices/"+id, key, time.Now().Add(time.Hour), "")))
	connack := make([]byte, 4)
	if err == nil {
		_, err = io.ReadFull(conn, connack)
	}
	if err != nil {
		w.Fatal(err)
	}
	return conn, connack[3]
}

func (w world) mustCreate(deviceID, hub string) (connectionString string) {
	w.Helper()
	at, _, err := w.CreateDevice(deviceID, hub)
	if err != nil {
		w.Fatal(err)
	}
	return w.connectionString(deviceID, at)
}

func (w world) connectionString(deviceID, hub string) string {
	w.Helper()
	text, err := w.ConnectionString(deviceID, hub)
	if err != nil {
		w.Fatal(err)
	}
	return text
}

func TestADeviceConnectsWithItsConnectionStringAndWithoutDPS(t *testing.T) {
	onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
		conn, code := w.connectsWith(w.mustCreate(device, ""))
		if code != 0 || !w.Connected(device, "A") || w.Registrations(device) != 0 {
			t.Fatalf("CONNACK %d, connected %t, %d registrations", code, w.Connected(device, "A"),
				w.Registrations(device))
		}
		conn.Write(rawPublish)
		if err := w.Wait(t.Context(), func() bool { return len(w.Ledger()) == 1 }); err != nil {
			t.Fatal(err)
		}
		// Only the string for the other hub is accepted after a move.
		if err := w.MoveDevice(device, "B"); err != nil {
			t.Fatal(err)
		}
		for hub, want := range map[string]byte{"A": 5, "B": 0} {
			if _, code := w.connectsWith(w.connectionString(device, hub)); code != want {
				t.Errorf("hub %s: CONNACK %d, want %d", hub, code, want)
			}
		}
		w.wantNoViolation()
	})
}

func TestWithOwnAddressesAConnectionStringHasNoPort(t *testing.T) {
	inBubble(t, emulator.Config{OwnAddresses: true}, func(t *testing.T, w world) {
		text := w.mustCreate(device, "B")
		if !strings.HasPrefix(text, "HostName=127.0.0.3;DeviceId=dev1;") {
			t.Error(text)
		}
		if _, code := w.connectsWith(text); code != 0 {
			t.Errorf("CONNACK %d", code)
		}
	})
}

func TestADeviceIsCreatedOnceAndAtOneHub(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		for _, step := range []struct {
			hub, want string
			isNew     bool
			err       error
		}{
			{"B", "B", true, nil}, {"B", "B", false, nil}, {"", "B", false, nil},
			{"A", "", false, emulator.ErrAtOtherHub},
		} {
			hub, isNew, err := w.CreateDevice(device, step.hub)
			if hub != step.want || isNew != step.isNew || !errors.Is(err, step.err) {
				t.Errorf("created at hub %q: %q, new %t, %v", step.hub, hub, isNew, err)
			}
		}
		// The same device may register later, and keeps its hub.
		if d, err := w.Device(device); err != nil || d.Hub != "B" {
			t.Errorf("%+v, %v", d, err)
		}
	})
}

func TestADeviceThatCannotBeCreatedIsAnErrorAndDoesNotExist(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		for id, hub := range map[string]string{"": "A", "a b": "A", "a;b": "A", "dev3": "C"} {
			if _, _, err := w.CreateDevice(id, hub); err == nil {
				t.Errorf("%q was created at hub %s", id, hub)
			}
		}
		if all := w.Devices(); len(all) != 0 {
			t.Errorf("there are %+v", all)
		}
		w.mustCreate(device, "")
		w.mustInject(device, emulator.Deleted, emulator.Params{})
		if _, _, err := w.CreateDevice(device, ""); err == nil || !strings.Contains(err.Error(), "deleted") {
			t.Error(err)
		}
		if _, err := w.ConnectionString("nobody", "A"); !errors.Is(err, emulator.ErrUnknownDevice) {
			t.Error(err)
		}
	})
}

func TestACreatedDeviceSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cloud.json")
		first := withDataFile(t, file)
		first.mustCreate(device, "B")
		first.Close()
		second := withDataFile(t, file)
		if hub, isNew, err := second.CreateDevice(device, ""); hub != "B" || isNew || err != nil {
			t.Errorf("after a restart: hub %q, new %t, %v", hub, isNew, err)
		}
	})
}

// A device that uses the string of another hub learns which hub it has reached, without looking up a port.
func TestARefusalNamesTheHubs(t *testing.T) {
	var refusals []string
	config := emulator.Config{Observe: func(e emulator.Event) {
		if e.Kind == emulator.KindRefused {
			refusals = append(refusals, e.Text)
		}
	}}
	inBubble(t, config, func(t *testing.T, w world) {
		w.Assign(device, "A")
		a, b := w.Hub("A"), w.Hub("B")
		if code := w.refusal(login{hub: "A", username: b + "/dev1/?api-version=2021-04-12"}); code != 5 {
			t.Errorf("CONNACK %d", code)
		}
		w.refusal(login{hub: "A", username: "elsewhere/dev1/?api-version=2021-04-12"})
		synctest.Wait()
		want := []string{
			"CONNACK 5: the user name names hub B (" + b + "), but this is hub A (" + a + ")",
			`CONNACK 5: the user name names the host "elsewhere", but this is hub A (` + a + ")",
		}
		if len(refusals) != 2 || refusals[0] != want[0] || refusals[1] != want[1] {
			t.Errorf("%q, want %q", refusals, want)
		}
	})
}

func TestVariablesSplitEachAddress(t *testing.T) {
	inBubble(t, emulator.Config{Hubs: []string{"A", "north-1"}, OwnAddresses: true}, func(t *testing.T, w world) {
		got := map[string]string{}
		for _, v := range w.Variables("/tmp/ca.p12") {
			got[v.Name] = v.Value
		}
		for name, want := range map[string]string{
			"EMULATOR_DPS_HOST": "127.0.0.1", "EMULATOR_DPS_PORT": "8883", "EMULATOR_DPS_ADDRESS": "127.0.0.1:8883",
			"EMULATOR_HUB_A_ADDRESS": "127.0.0.2:8883", "EMULATOR_HUB_NORTH_1_HOST": "127.0.0.3",
			"EMULATOR_TRUST_STORE": "/tmp/ca.p12", "EMULATOR_TRUST_STORE_PASSWORD": "changeit",
		} {
			if got[name] != want {
				t.Errorf("%s is %q, want %q", name, got[name], want)
			}
		}
		if w.DPSName() != "127.0.0.1" {
			t.Errorf("DPS is named %s", w.DPSName())
		}
	})
}
