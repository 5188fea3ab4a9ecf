package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"

	"giantlizard.example/failover/payloads"
)

// reports are the reported properties that wait to be sent, merged as the hub itself would merge them: of each property
// the newest value. So a day of changes made offline is one patch.
type reports struct {
	mu      sync.Mutex
	pending map[string]any
	away    map[string]any // taken last, and perhaps given back
	changed chan struct{}
}

func newReports() *reports { return &reports{changed: make(chan struct{}, 1)} }

// add merges a patch in, or says why no hub would take the result.
func (r *reports) add(patch map[string]any) error {
	fresh, err := asJSON(patch)
	if err != nil {
		return fmt.Errorf("hub: report: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	merged := merge(r.pending, fresh)
	if err := payloads.CheckReported(merge(r.away, merged)); err != nil {
		return fmt.Errorf("hub: report: %w", err)
	}
	r.pending = merged
	r.wake()
	return nil
}

// take hands out what waits, to be given back if the hub does not confirm it.
func (r *reports) take() map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away, r.pending = r.pending, nil
	return r.away
}

// giveBack puts a patch back under what has come since.
func (r *reports) giveBack(older map[string]any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending, r.away = merge(older, r.pending), nil
	r.wake()
}

func (r *reports) wake() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// asJSON is the patch as it will be sent, apart from the caller's own values. Numbers keep their digits.
func asJSON(patch map[string]any) (map[string]any, error) {
	text, err := json.Marshal(patch)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v map[string]any
	return v, d.Decode(&v)
}

// merge lays newer over older, as the twin does: objects are merged, everything else is replaced, null stays null.
func merge(older, newer map[string]any) map[string]any {
	merged := make(map[string]any, len(older)+len(newer))
	for k, v := range older {
		merged[k] = v
	}
	for k, v := range newer {
		under, ok := merged[k].(map[string]any)
		over, also := v.(map[string]any)
		if ok && also {
			merged[k] = merge(under, over)
		} else {
			merged[k] = v
		}
	}
	return merged
}
