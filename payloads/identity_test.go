package payloads

import (
	"strings"
	"testing"
)

func TestUsernames(t *testing.T) {
	for got, want := range map[string]string{
		RegistrationUsername("0ne00A1", "dev1"): "0ne00A1/" +
			"registrations/dev1/api-version=2019-03-31&ClientVersion=failover",
		HubUsername("h.azure-devices.net", "dev1", "dtmi:Sample:Failover;1"): "h.azure-devices.net/dev1/" +
			"?api-version=2021-04-12&model-id=dtmi%3ASample%3AFailover%3B1",
		HubUsername("127.0.0.1:8884", "dev1", "a b+c"): "127.0.0.1:8884/dev1/" +
			"?api-version=2021-04-12&model-id=a%20b%2Bc",
		HubUsername("h", "dev1", ""): "h/dev1/?api-version=2021-04-12",
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestRegistrationIDIsChecked(t *testing.T) {
	for _, id := range []string{
		"a", "dev1", "7", "a.b_c-d:e", strings.Repeat("a", 128), "Dev1", "-dev1", ".dev1", "_dev1", ":dev1", "dev1-",
		"-",
	} {
		if err := CheckRegistrationID(id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	for id, says := range map[string]string{
		"":                       "give it 1 to 128",
		strings.Repeat("a", 129): "give it 1 to 128",
		"dev 1":                  "use only letters",
		"dev/1":                  "use only letters",
		"dev#":                   "use only letters",
		"zürich":                 "use only letters",
		"dev\x001":               "use only letters",
		"dev1.":                  "end it with a letter, a digit or a dash",
		"dev1_":                  "end it with",
		"dev1:":                  "end it with",
		"..":                     "end it with",
	} {
		if err := CheckRegistrationID(id); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want it to say %q", id, err, says)
		}
	}
}

func TestDeviceIDIsChecked(t *testing.T) {
	for _, id := range []string{"a", "Dev1", "-:._%*?!(),=@;$'", "-", ".", strings.Repeat("d", 128)} {
		if err := CheckDeviceID(id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	for id, says := range map[string]string{
		"":                       "it has 1 to 128",
		strings.Repeat("d", 129): "it has 1 to 128",
		"dev+1":                  "no device can publish over MQTT",
		"dev#1":                  "no device can publish over MQTT",
		"dev/1":                  "IoT Hub does not allow",
		"dev 1":                  "IoT Hub does not allow",
		"dev~1":                  "IoT Hub does not allow",
		"dev&1":                  "IoT Hub does not allow",
		"zürich":                 "IoT Hub does not allow",
		"dev\x001":               "IoT Hub does not allow",
	} {
		if err := CheckDeviceID(id); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want it to say %q", id, err, says)
		}
	}
}

func TestHostIsSplitFromItsPort(t *testing.T) {
	for hub, want := range map[string][2]string{
		"h.azure-devices.net":         {"h.azure-devices.net", "8883"},
		"h.azure-devices.net.":        {"h.azure-devices.net.", "8883"},
		"h.azure-devices.net:443":     {"h.azure-devices.net", "443"},
		"localhost:1":                 {"localhost", "1"},
		"hub_b:08883":                 {"hub_b", "8883"},
		"127.0.0.1":                   {"127.0.0.1", "8883"},
		"127.0.0.1:65535":             {"127.0.0.1", "65535"},
		"[::1]":                       {"::1", "8883"},
		"[::1]:8884":                  {"::1", "8884"},
		"iotc-0123.AZURE-devices.net": {"iotc-0123.AZURE-devices.net", "8883"},
	} {
		host, port, err := HostPort(hub, "8883")
		if err != nil || host != want[0] || port != want[1] {
			t.Errorf("%s: got %q %q, %v", hub, host, port, err)
		}
	}
}

func TestHostNameHasAtMost253Characters(t *testing.T) {
	for length, fits := range map[int]bool{253: true, 254: false} {
		name := strings.Repeat("a.", 127)[:length-1] + "b"
		if _, _, err := HostPort(name, "8883"); (err == nil) != fits {
			t.Errorf("%d characters: %v", len(name), err)
		}
	}
}

func TestLabelOfAHostNameHasAtMost63Characters(t *testing.T) {
	for length, fits := range map[int]bool{63: true, 64: false} {
		name := strings.Repeat("a", length) + ".example"
		if _, _, err := HostPort(name, "8883"); (err == nil) != fits {
			t.Errorf("%d characters: %v", length, err)
		}
	}
}

func TestErrorAboutAHostSaysWhatIsExpected(t *testing.T) {
	for _, hub := range []string{
		"", ":", ":8883", "https://hub", "mqtts://hub:8883", "hub/", "hub/path", "a b", " hub", "hub\n", "hub\x00",
		"hub:", "hub:0", "hub:65536", "hub:-1", "hub:+1", "hub:port", "hub:8883/x", "hub:8883:1", "::1", "fe80::1",
		"[::1", "[]", "[hub]:1", "[127.0.0.1]:1", "[::1]x", "[::1]8883", "[::1]:", "[fe80::1%a b]:1", "user@hub",
		"hub?x",
		"hub#x",
		"a..b", ".hub", ".", "-hub", "zürich.example", "%68ub", strings.Repeat("a", 254),
	} {
		host, port, err := HostPort(hub, "8883")
		if err == nil {
			t.Errorf("%q was read as %q %q", hub, host, port)
		} else if !strings.Contains(err.Error(), "expected") {
			t.Errorf("%q: %v does not say what is expected", hub, err)
		}
	}
}
