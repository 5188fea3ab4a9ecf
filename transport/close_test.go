package transport_test

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/transport"
)

// A valve is a connection whose writes a test can stop.
type valve struct {
	net.Conn
	mu       sync.Mutex
	open     chan struct{} // is closed while writes pass
	gone     chan struct{}
	once     sync.Once
	deadline time.Time
}

// withValve puts a valve into the connection of a session, and sets v when it is dialed.
func withValve(v **valve) func(*transport.Config) {
	return func(c *transport.Config) {
		dial := c.Dial
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			*v = &valve{Conn: conn, open: make(chan struct{}), gone: make(chan struct{})}
			(*v).release()
			return *v, err
		}
	}
}

func (v *valve) stop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open = make(chan struct{})
}

func (v *valve) release() {
	v.mu.Lock()
	defer v.mu.Unlock()
	close(v.open)
}

func (v *valve) SetWriteDeadline(t time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.deadline = t
	return nil
}

func (v *valve) SetDeadline(t time.Time) error {
	v.SetWriteDeadline(t)
	return v.SetReadDeadline(t)
}

func (v *valve) Write(p []byte) (int, error) {
	v.mu.Lock()
	open, late := v.open, (<-chan time.Time)(nil)
	if !v.deadline.IsZero() {
		late = time.After(time.Until(v.deadline))
	}
	v.mu.Unlock()
	select {
	case <-open:
		return v.Conn.Write(p)
	case <-late:
		return 0, os.ErrDeadlineExceeded
	case <-v.gone:
		return 0, net.ErrClosed
	}
}

func (v *valve) Close() error {
	v.once.Do(func() { close(v.gone) })
	return v.Conn.Close()
}

func TestCloseMayBeCalledOftenAndConcurrently(t *testing.T) {
	everywhere(t, func(w *world) {
		w.serve(func(p *peer) { p.accept(); p.answerAll() })
		s := w.connect()
		var closing sync.WaitGroup
		for range 4 {
			closing.Go(func() { w.close(s) })
		}
		closing.Wait()
		start := time.Now()
		w.close(s)
		w.wantTook(start, 0)
		w.wantReason(s.Cause(), transport.ClosedLocally)
		<-s.Done()
	})
}

func TestCloseReturnsAtOnceWhetherThePeerIsThereOrGone(t *testing.T) {
	for name, end := range map[string]func(*peer){
		"lives": (*peer).answerAll, "has gone": func(p *peer) { p.next(); p.reset() },
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(w *world) {
				w.serve(func(p *peer) { p.accept(); end(p) })
				s := w.connect()
				if name == "has gone" {
					go publishAndWait(s, context.Background(), "t", 1, nil)
					w.wantEnd(s, transport.Reset)
				}
				start := time.Now()
				w.close(s)
				w.wantTook(start, 0)
			})
		})
	}
}

func TestCloseEndsAStalledConnectionAfterASecond(t *testing.T) {
	for name, ask := range map[string]func(*transport.Session){
		"idle": func(*transport.Session) {},
		"busy": func(s *transport.Session) {
			for range 5 {
				go publishAndWait(s, context.Background(), "t", 1, nil)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve(func(p *peer) { p.accept(); p.answerNone() })
				var v *valve
				s := w.connect(withValve(&v))
				v.stop()
				ask(s)
				synctest.Wait()
				start := time.Now()
				w.close(s)
				if took := time.Since(start); took < time.Second || took > 2*time.Second {
					w.Errorf("it took %v", took)
				}
				w.wantReason(s.Cause(), transport.ClosedLocally)
			})
		})
	}
}

func TestTheContextOfCloseEndsTheSession(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) { p.accept(); p.answerNone() })
		for _, timeout := range []time.Duration{0, time.Millisecond, 300 * time.Millisecond} {
			var v *valve
			s := w.connect(withValve(&v))
			v.stop()
			for range 3 {
				go publishAndWait(s, context.Background(), "t", 1, nil)
			}
			synctest.Wait()
			ctx, cancel := context.WithTimeout(w.Context(), timeout)
			start := time.Now()
			if err := s.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				w.Errorf("after %v: %v", timeout, err)
			}
			w.wantTook(start, timeout)
			w.wantEnd(s, transport.ClosedLocally)
			w.wantTook(start, timeout)
			cancel()
			<-s.Done()
			if took := time.Since(start); took > 2*time.Second {
				w.Errorf("it was done only after %v", took)
			}
		}
	})
}

func TestTheContextEndsAPublishThatWaits(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) { p.accept(); p.answerNone() })
		var v *valve
		s := w.connect(withValve(&v))
		v.stop()
		for range 100 { // more than all queues hold
			go publishAndWait(s, context.Background(), "t", 1, make([]byte, 1024))
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(w.Context(), 2500*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := s.Publish(ctx, "t", 1, nil, func(error) { w.Error("done was called") })
		if !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("got %v", err)
		}
		w.wantTook(start, 2500*time.Millisecond)
	})
}
