package memnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/lab/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect returns both ends of a connection made through Listen and DialContext.
func connect(t *testing.T, network *memnet.Network) (near, far *memnet.Conn) {
	t.Helper()
	listener, err := network.Listen("hub:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialed, err := network.DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return dialed.(*memnet.Conn), accepted.(*memnet.Conn)
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

func write(t *testing.T, to io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(to, text); err != nil {
		t.Fatal(err)
	}
}

func TestAWriterNeverBlocksAndNothingIsLost(t *testing.T) {
	near, far := connect(t, memnet.New())
	chunk := make([]byte, 1<<20)
	for i := range 8 {
		chunk[0] = byte(i)
		if _, err := near.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	near.Close()
	all, err := io.ReadAll(far)
	if err != nil || len(all) != 8<<20 || all[7<<20] != 7 {
		t.Errorf("read %d bytes, error %v", len(all), err)
	}
}

func TestDialingWhereNobodyListensIsRefused(t *testing.T) {
	network := memnet.New()
	listener, err := network.Listen("hub:8883")
	if err != nil {
		t.Fatal(err)
	}
	_, err = network.Listen("hub:8883")
	wantError(t, err, syscall.EADDRINUSE)

	listener.Close()
	_, err = network.DialContext(t.Context(), "tcp", "hub:8883")
	wantError(t, err, syscall.ECONNREFUSED)

	again, err := network.Listen("hub:8883")
	if err != nil {
		t.Fatalf("the address was not free after Close: %v", err)
	}
	again.Close()
}

func TestAListenerThatRefusesKeepsItsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		l, _ := network.Listen("hub:8883")
		listener := l.(interface {
			net.Listener
			SetRefusing(bool) error
		})
		waiting, err := network.DialContext(t.Context(), "tcp", "hub:8883")
		if err != nil {
			t.Fatal(err)
		}
		if err := listener.SetRefusing(true); err != nil {
			t.Fatal(err)
		}
		_, err = waiting.Read(make([]byte, 1))
		wantError(t, err, syscall.ECONNRESET)
		_, err = network.DialContext(t.Context(), "tcp", "hub:8883")
		wantError(t, err, syscall.ECONNREFUSED)
		_, err = network.Listen("hub:8883")
		wantError(t, err, syscall.EADDRINUSE)

		accepted := make(chan net.Conn)
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				t.Error(err)
			}
			accepted <- conn
		}()
		if err := listener.SetRefusing(false); err != nil {
			t.Fatal(err)
		}
		near, err := network.DialContext(t.Context(), "tcp", "hub:8883")
		if err != nil {
			t.Fatal(err)
		}
		far := <-accepted
		near.Close()
		far.Close()
		listener.Close()
		wantError(t, listener.SetRefusing(true), net.ErrClosed)
	})
}

func TestClosingAListenerEndsAcceptAndResetsPendingConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		listener, _ := network.Listen("hub:8883")
		waiting, err := network.DialContext(t.Context(), "tcp", "hub:8883")
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
		_, err = listener.Accept()
		wantError(t, err, net.ErrClosed)
		_, err = waiting.Read(make([]byte, 1))
		wantError(t, err, syscall.ECONNRESET)

		listener, _ = network.Listen("hub:8883")
		go func() {
			time.Sleep(time.Second)
			listener.Close()
		}()
		_, err = listener.Accept()
		wantError(t, err, net.ErrClosed)
	})
}

func TestCloseIsFIN(t *testing.T) {
	near, far := connect(t, memnet.New())
	write(t, far, "never read")
	write(t, near, "rest")
	near.Close()

	rest, err := io.ReadAll(far)
	if string(rest) != "rest" || err != nil {
		t.Errorf("read %q, %v", rest, err)
	}
	_, err = far.Write([]byte("late"))
	wantError(t, err, syscall.EPIPE)
	_, err = near.Read(make([]byte, 1))
	wantError(t, err, net.ErrClosed)
	wantError(t, near.Close(), net.ErrClosed)
}

func TestResetIsRST(t *testing.T) {
	near, far := connect(t, memnet.New())
	write(t, near, "lost")
	near.Reset()
	_, err := far.Read(make([]byte, 9))
	wantError(t, err, syscall.ECONNRESET)
	_, err = far.Write([]byte("late"))
	wantError(t, err, syscall.ECONNRESET)
	_, err = near.Write([]byte("own"))
	wantError(t, err, net.ErrClosed)
}

func TestAHalfClosedConnectionStillReads(t *testing.T) {
	near, far := connect(t, memnet.New())
	near.CloseWrite()
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the peer read %v, want EOF", err)
	}
	write(t, far, "answer")
	far.Close()
	answer, err := io.ReadAll(near)
	if string(answer) != "answer" || err != nil {
		t.Errorf("read %q, %v", answer, err)
	}
	_, err = near.Write([]byte("late"))
	wantError(t, err, syscall.EPIPE)
}

func TestCloseWakesItsOwnReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := connect(t, memnet.New())
		time.AfterFunc(time.Minute, func() { near.Close() })
		_, err := near.Read(make([]byte, 1))
		wantError(t, err, net.ErrClosed)
	})
}

func TestDeadlinesPassOnTheBubblesClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := connect(t, memnet.New())
		start := time.Now()
		near.SetReadDeadline(start.Add(time.Hour))
		_, err := near.Read(make([]byte, 1))
		wantError(t, err, os.ErrDeadlineExceeded)
		if waited := time.Since(start); waited != time.Hour {
			t.Errorf("the deadline of an hour took %v", waited)
		}
		var failure net.Error
		if !errors.As(err, &failure) || !failure.Timeout() {
			t.Errorf("%v is no net.Error that timed out", err)
		}

		near.SetDeadline(time.Now().Add(-time.Second))
		_, err = near.Write([]byte("x"))
		wantError(t, err, os.ErrDeadlineExceeded)

		near.SetDeadline(time.Time{})
		time.AfterFunc(time.Hour, func() { far.Write([]byte("x")) })
		if _, err := near.Read(make([]byte, 1)); err != nil {
			t.Errorf("without a deadline: %v", err)
		}
	})
}

func TestAChangedDeadlineTakesEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := connect(t, memnet.New())
		start := time.Now()
		near.SetReadDeadline(start.Add(10 * time.Second))
		time.AfterFunc(5*time.Second, func() { near.SetReadDeadline(start.Add(time.Minute)) })
		time.AfterFunc(20*time.Second, func() { near.SetReadDeadline(start) })
		_, err := near.Read(make([]byte, 1))
		wantError(t, err, os.ErrDeadlineExceeded)
		if waited := time.Since(start); waited != 20*time.Second {
			t.Errorf("woke after %v, want 20s", waited)
		}
	})
}

func TestLatencyDelaysEachDirectionAndKeepsItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		network.SetLatency(40 * time.Millisecond)
		start := time.Now()
		near, far := connect(t, network)
		if took := time.Since(start); took != 80*time.Millisecond {
			t.Errorf("connecting took %v, want a round trip of 80ms", took)
		}
		start = time.Now()
		write(t, near, "a")
		network.SetLatency(time.Millisecond) // the second byte must not overtake the first
		write(t, near, "b")
		near.Close()
		all, err := io.ReadAll(far)
		if string(all) != "ab" || err != nil {
			t.Errorf("read %q, %v", all, err)
		}
		if took := time.Since(start); took != 40*time.Millisecond {
			t.Errorf("arrived after %v, want 40ms", took)
		}
	})
}

func TestAResetDoesNotWaitForTheLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		near, far := connect(t, network)
		network.SetLatency(time.Hour)
		write(t, near, "under way")
		near.Reset()
		start := time.Now()
		_, err := far.Read(make([]byte, 1))
		wantError(t, err, syscall.ECONNRESET)
		if time.Since(start) != 0 {
			t.Error("the reset took its time")
		}
	})
}

func TestADialGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		network.SetLatency(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := network.DialContext(ctx, "tcp", "hub:8883")
		wantError(t, err, context.DeadlineExceeded)
	})
}

func TestADialWaitsDuringABlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		listener, _ := network.Listen("hub:8883")
		hole := listener.(interface{ SetBlackHole(bool) })
		hole.SetBlackHole(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := network.DialContext(ctx, "tcp", "hub:8883")
		wantError(t, err, context.DeadlineExceeded)

		start := time.Now()
		time.AfterFunc(time.Minute, func() { hole.SetBlackHole(false) })
		if _, err := network.DialContext(t.Context(), "tcp", "hub:8883"); err != nil ||
			time.Since(start) != time.Minute {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		hole.SetBlackHole(true)
		time.AfterFunc(time.Minute, func() { listener.Close() })
		_, err = network.DialContext(t.Context(), "tcp", "hub:8883")
		wantError(t, err, syscall.ECONNREFUSED)
	})
}

func TestBothEndsCanReadAndWriteAtOnce(t *testing.T) {
	near, far := connect(t, memnet.New())
	var ends sync.WaitGroup
	for _, end := range []*memnet.Conn{near, far} {
		ends.Go(func() {
			for range 1000 {
				end.Write([]byte("0123456789"))
			}
			end.CloseWrite()
		})
		ends.Go(func() {
			if all, err := io.ReadAll(end); len(all) != 10000 || err != nil {
				t.Errorf("read %d bytes, %v", len(all), err)
			}
		})
	}
	ends.Wait()
}
