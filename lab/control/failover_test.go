package control_test

import (
	"fmt"
	"math"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

const system = "/system/iothub/devices/dev1/"

// failover and failback return the identifier of the hub.
func (w world) failover(body string) string {
	w.Helper()
	return w.identifier(w.want(200, "POST", system+"manual-failover", body))
}

func (w world) failback() string {
	w.Helper()
	return w.identifier(w.want(200, "POST", system+"manual-failback", ""))
}

func (w world) identifier(answer map[string]any) string {
	w.Helper()
	id, _ := answer["hubIdentifier"].(string)
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(id) {
		w.Errorf("the hub's identifier is %q", id)
	}
	if message, _ := answer["message"].(string); !regexp.MustCompile(`^Success!`).MatchString(message) ||
		len(answer) != 2 {
		w.Errorf("it answers %v", answer)
	}
	return id
}

// The test with the real az expects the same of IoT Central.
func TestAMoveAnswersWithTheHubThatTheDeviceLeaves(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	first := w.failover(`{"ttl":1}`)
	if w.HubOf(device) != "B" {
		t.Errorf("the device is at %s", w.HubOf(device))
	}
	second := w.failback()
	if w.HubOf(device) != "A" {
		t.Errorf("the device is at %s", w.HubOf(device))
	}
	third := w.failover(`{}`)
	if first != third || first == second {
		t.Errorf("failover %s, failback %s, failover %s", first, second, third)
	}
	other := newWorld(t, emulator.Config{IDScope: "0ne0000000B"}, w.dial)
	other.Assign(device, "A")
	if again := other.failover(`{}`); again == first {
		t.Error("hub A of another application has the same identifier")
	}
}

func TestTheDeviceReturnsAtTheAnsweredTime(t *testing.T) {
	for body, minutes := range map[string]int{`{"ttl":1}`: 1, `{"ttl":30}`: 30, `{}`: 5, ``: 5, `{"ttl":null}`: 5} {
		inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
			w.Assign(device, "A")
			message := w.want(200, "POST", system+"manual-failover", body)["message"].(string)
			back := time.Now().Add(time.Duration(minutes) * time.Minute)
			if want := back.UTC().Format(time.RFC3339); !regexp.MustCompile(`\b` + want + `\b`).MatchString(message) {
				t.Errorf("%s: %q does not say %s", body, message, want)
			}
			if want := "Success! The device is now unregistered from its IoT hub. Once it asks DPS, " +
				"it is sent to another one. It returns by itself at " +
				back.UTC().Format(time.RFC3339) + ", or sooner by a manual failback."; message != want {
				t.Errorf("%s: it says %q", body, message)
			}
			time.Sleep(time.Until(back) - 1)
			synctest.Wait()
			if w.HubOf(device) != "B" {
				t.Errorf("%s: it is home too early", body)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if w.HubOf(device) != "A" {
				t.Errorf("%s: it is not home", body)
			}
			w.wantError(409, "Conflict", "nothing to fail back", "POST", system+"manual-failback", "")
		})
	}
}

func TestAFailbackBeforeTheTimeIsTheLastMove(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		g := w.newTestDevice()
		w.failover(`{"ttl":10}`)
		g.waitUntil("it is thrown out", func() bool { return !w.Connected(device, "A") })
		there := w.newTestDevice()
		time.Sleep(2 * time.Minute)
		w.failback()
		there.waitUntil("it is thrown out", func() bool { return !w.Connected(device, "B") })
		w.newTestDevice()
		time.Sleep(time.Hour)
		if w.HubOf(device) != "A" || w.Connects(device, "A") != 2 || w.Connects(device, "B") != 1 ||
			!w.Connected(device, "A") {
			t.Errorf("it is at %s, and was accepted %d times at A, %d at B", w.HubOf(device), w.Connects(device, "A"),
				w.Connects(device, "B"))
		}
	})
}

func TestAnImpossibleMoveIsAConflictWithTheNextStep(t *testing.T) {
	w := onSockets(t)
	w.Enroll(device, "")
	w.wantError(409, "Conflict", "let it connect once", "POST", system+"manual-failover", "{}")
	w.Assign(device, "A")
	w.wantError(409, "Conflict", "not failed over", "POST", system+"manual-failback", "")
	for _, ttl := range []int{0, -1, 31, math.MaxInt32} {
		w.wantError(422, "InvalidBody", "1 to 30", "POST", system+"manual-failover", fmt.Sprintf(`{"ttl":%d}`, ttl))
	}
	for _, ttl := range []string{`"5"`, `1.5`, `[]`, `true`, `1e30`} {
		w.wantError(400, "InvalidBody", "ttl", "POST", system+"manual-failover", `{"ttl":`+ttl+`}`)
	}
	if w.HubOf(device) != "A" {
		t.Errorf("the device is at %s", w.HubOf(device))
	}
	w.failover("")
	w.wantError(409, "Conflict", "fail it back first", "POST", system+"manual-failover", "{}")
	single := newWorld(t, emulator.Config{Hubs: []string{"A"}}, w.dial)
	single.Assign(device, "A")
	single.wantError(409, "Conflict", "only one hub", "POST", system+"manual-failover", "{}")
}
