package machine

import "testing"

func TestLinuxKnowsHowLongTheMachineHasSleptAndWhetherItWasRestarted(t *testing.T) {
	first, known := asleep()
	second, knownToo := asleep()
	if !known || !knownToo || first < -noise || (second-first).Abs() >= noise {
		t.Errorf("%v (%t), and then %v (%t)", first, known, second, knownToo)
	}
	if id := bootID(); len(id) < 10 || id != bootID() {
		t.Errorf("the boot ID is %q", id)
	}
}
