package hub

import (
	"testing"
	"time"

	"giantlizard.example/failover/transport"
)

// After sessions that ended with a full window, each reading in it may be the one at fault.
func TestLargestWindowIsDrainedInLinearTimeAfterLostSessions(t *testing.T) {
	for _, lost := range []int{1, 2} {
		began := time.Now() // outside of the bubble, whose time is not real
		bubble(t, telemetry(Delivery{Window: maxWindow, Unpaced: true}), func(t *testing.T, w *world) {
			w.accept(maxWindow, 1)
			for range lost {
				w.connect(nil)
				w.disconnect(transport.Reset)
			}
			s := w.connect(acks)
			if n, _ := w.box.Pending(); n != 0 || len(s.published) != maxWindow {
				t.Errorf("%d readings are pending after %d were sent", n, len(s.published))
			}
		})
		if took := time.Since(began); took > 5*time.Second { // in quadratic time more than 10 s
			t.Errorf("after %d lost sessions it took %s", lost, took)
		}
	}
}
