package transport_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"giantlizard.example/failover/transport"
)

// An unreliable peer mixes true, repeated and false answers, and remembers what it has acknowledged.
type unreliable struct {
	mu     sync.Mutex
	random *rand.Rand
	acked  map[string]bool // by payload
}

func (g *unreliable) serve(p *peer) {
	p.accept()
	seen, due := map[uint16]string{}, []uint16{}
	for packet := p.next(); packet != nil; packet = p.next() {
		m, ok := packet.(*packets.PublishPacket)
		if !ok {
			p.answer(packet)
			continue
		}
		if m.Qos == 0 {
			continue
		}
		seen[m.MessageID] = string(m.Payload)
		due = append(due, m.MessageID)
		for len(due) > 0 && g.pick(3) > 0 {
			i := g.pick(len(due))
			g.acknowledge(p, due[i], seen[due[i]])
			due = slices.Delete(due, i, i+1)
		}
		g.sendUnasked(p)
		if g.pick(500) == 0 {
			if g.pick(2) == 0 {
				p.reset()
			}
			return
		}
	}
}

func (g *unreliable) pick(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.random.IntN(n)
}

func (g *unreliable) acknowledge(p *peer, id uint16, payload string) {
	g.mu.Lock()
	g.acked[payload] = true
	g.mu.Unlock()
	p.send(puback(id))
	if g.pick(4) == 0 {
		p.send(puback(id))
	}
}

// sendUnasked sends packets that nobody has asked for.
func (g *unreliable) sendUnasked(p *peer) {
	switch g.pick(8) {
	case 0:
		p.send(puback(uint16(30000 + g.pick(30000))))
	case 1:
		a := packets.NewControlPacket(packets.Unsuback).(*packets.UnsubackPacket)
		a.MessageID = uint16(1 + g.pick(100))
		p.send(a)
	case 2:
		p.send(publish(uint16(1+g.pick(100)), "x"))
	}
}

func (g *unreliable) has(payload string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.acked[payload]
}

// An outcome says what became of a message.
type outcome struct {
	payload string
	qos     byte
	started error
	calls   []error
}

func (f *outcome) check(g *unreliable) error {
	var failed *transport.Error
	switch {
	case f.started != nil && len(f.calls) == 0:
		return nil
	case f.started != nil:
		return fmt.Errorf("%s: Publish returned %w, and done was called with %v", f.payload, f.started, f.calls)
	case len(f.calls) != 1:
		return fmt.Errorf("%s: done was called with %v", f.payload, f.calls)
	case f.calls[0] == nil && f.qos > 0 && !g.has(f.payload):
		return fmt.Errorf("%s: the peer did not acknowledge it", f.payload)
	case f.calls[0] != nil && !errors.As(f.calls[0], &failed):
		return f.calls[0]
	}
	return nil
}

func TestDoneIsCalledOnceWithTheTruth(t *testing.T) {
	inBubble(t, func(w *world) {
		g := &unreliable{random: rand.New(rand.NewPCG(1, 2)), acked: map[string]bool{}}
		w.serve(g.serve)
		for run := range 60 {
			var v *valve
			s := w.connect(withValve(&v))
			s.Attach(func(m transport.Message) bool { m.Ack(); return true })
			ctx, cancel := context.WithTimeout(w.Context(), time.Duration(run)*100*time.Millisecond)
			var mu sync.Mutex
			results := make([]outcome, 300)
			var starting sync.WaitGroup
			for first := range 3 {
				starting.Go(func() {
					for i := first; i < len(results); i += 3 {
						f := &results[i]
						f.payload, f.qos = fmt.Sprintf("%d-%d", run, i), byte(min(1, i%7))
						f.started = s.Publish(ctx, "t", f.qos, []byte(f.payload), func(err error) {
							mu.Lock()
							defer mu.Unlock()
							f.calls = append(f.calls, err)
						})
						if i%10 == 0 {
							time.Sleep(10 * time.Millisecond)
						}
					}
				})
			}
			if run%3 == 0 {
				time.Sleep(50 * time.Millisecond)
				v.stop()
			}
			if run%6 == 0 {
				time.Sleep(2500 * time.Millisecond)
				v.release()
			}
			if run%5 == 0 {
				w.close(s)
			}
			starting.Wait()
			cancel()
			w.close(s)
			<-s.Done()
			for i := range results {
				if err := results[i].check(g); err != nil {
					w.Errorf("run %d: %v", run, err)
				}
			}
		}
	})
}
