package hub

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"giantlizard.example/failover/statefile"
)

// saveRetry is the time between two tries on a disk that cannot be written.
const saveRetry = 10 * time.Second

// A keeper has a file hold what no hub has confirmed. It writes on a goroutine of its own, for a disk may stall, and no session
// may wait for one; that goroutine runs only while there is something to write. Changes that come while the disk is busy share
// the next write.
type keeper struct {
	file   statefile.File  // the zero File means that nothing is kept
	frozen bool            // the file is not written, and only removed, once hubs have confirmed what was in it
	delay  time.Duration   // from a change until it is written; 0: await waits for that
	now    func() twinFile // what the file is to hold
	save   func(f statefile.File, v any) error
	warn   func(error)

	mu     sync.Mutex
	wanted int           // counts the changes
	tried  int           // wanted as the last write has met it, be it in vain
	news   chan struct{} // closed when tried changes
	hurry  chan struct{} // cuts a rest short
	idle   chan struct{} // closed when the goroutine ends; nil: none runs
	ended  bool

	// What follows belongs to the goroutine.
	held     *twinFile // by the file; nil: that is in doubt
	troubled bool
}

func newKeeper(now func() twinFile) *keeper {
	return &keeper{now: now, save: statefile.File.Save, news: make(chan struct{}), hurry: make(chan struct{}, 1), held: &twinFile{}}
}

// load reads the file. An error is a warning.
func (k *keeper) load() (f twinFile, ok bool, err error) {
	ok, err = k.file.Load(&f)
	if ok || err != nil {
		k.held = nil
	} else if k.frozen {
		k.file = statefile.File{}
	}
	return f, ok, err
}

// change says that the file is to hold something else. It returns the change's number, for await.
func (k *keeper) change() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file.Kept() && !k.ended {
		k.wanted++
		k.start()
	}
	return k.wanted
}

// await returns nil when the file holds a change, or cannot be written, which is a warning.
func (k *keeper) await(ctx context.Context, change int) error {
	for k.delay == 0 && !k.frozen {
		k.mu.Lock()
		tried, news := k.tried, k.news
		k.mu.Unlock()
		if tried >= change {
			break
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// end writes a last time, waits for that, and tells whether the file holds what it is to hold.
func (k *keeper) end() bool {
	k.mu.Lock()
	if !k.file.Kept() {
		k.mu.Unlock()
		return false
	}
	if !k.ended {
		k.ended = true
		k.wanted++
		k.start()
	}
	idle := k.idle
	k.mu.Unlock()
	if idle != nil {
		<-idle
	}
	return !k.frozen && k.held != nil
}

func (k *keeper) start() {
	runs := k.idle != nil
	if !runs {
		k.idle = make(chan struct{})
		go k.run(k.idle)
	}
	if k.ended || runs && k.delay == 0 {
		select {
		case k.hurry <- struct{}{}:
		default:
		}
	}
}

func (k *keeper) run(idle chan struct{}) {
	defer close(idle)
	for wait := k.delay; ; {
		k.rest(wait)
		k.mu.Lock()
		met := k.wanted
		k.mu.Unlock()
		err := k.write()
		k.mu.Lock()
		k.tried = met
		close(k.news)
		k.news = make(chan struct{})
		if k.wanted == met && (err == nil || k.ended) {
			k.idle = nil
			k.mu.Unlock()
			return
		}
		k.mu.Unlock()
		if wait = k.delay; err != nil {
			wait = max(wait, saveRetry)
		}
	}
}

func (k *keeper) rest(wait time.Duration) {
	if wait == 0 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-k.hurry:
	}
}

// write makes the file hold what it is to hold. Nothing is no file; its removal is not synced, for what a power cut brings
// back is the newest all the same, and may be sent again.
func (k *keeper) write() error {
	f := k.now()
	switch {
	case k.held != nil && reflect.DeepEqual(*k.held, f):
		return nil
	case f.empty():
		if err := k.file.Remove(); err != nil {
			return k.tell(err)
		}
	case k.frozen:
		return nil
	default:
		k.held = nil
		if err := k.tell(k.save(k.file, f)); err != nil {
			return err
		}
	}
	k.held = &f
	return nil
}

// tell says once that the file cannot be written, and once that it can again.
func (k *keeper) tell(err error) error {
	switch {
	case err != nil && !k.troubled:
		k.warn(fmt.Errorf("hub: store the reported properties: %w; %s, or a restart forgets what no hub has confirmed",
			err, statefile.Advice(err, "make room, or make the state directory writable")))
	case err == nil && k.troubled:
		k.warn(errors.New("hub: reported properties can be stored again"))
	}
	k.troubled = err != nil
	return err
}
