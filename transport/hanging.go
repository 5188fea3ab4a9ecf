package transport

import (
	"context"
	"fmt"
	"net"
	"time"
)

// returnTimeout is how long a function of the program may take to return after its context has ended.
const returnTimeout = 100 * time.Millisecond

// bounded runs f, a function of the program, on a goroutine of its own, and returns f's results. If f has
// not returned returnTimeout after the end of ctx, bounded returns an error with the name of f. If f returns
// later, discard receives the value; discard may be nil.
func bounded[T any](ctx context.Context, name string, f func() (T, error), discard func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	returned, abandoned := make(chan result), make(chan struct{})
	go func() {
		value, err := f()
		select {
		case returned <- result{value, err}:
		case <-abandoned:
			if discard != nil {
				discard(value)
			}
		}
	}()
	ended := ctx.Done()
	var late <-chan time.Time
	for {
		select {
		case r := <-returned:
			return r.value, r.err
		case <-ended:
			ended, late = nil, time.After(returnTimeout)
		case <-late:
			close(abandoned)
			var none T
			return none, fmt.Errorf("%s has not returned: %w", name, ctx.Err())
		}
	}
}

func closeConn(c net.Conn) {
	if c != nil {
		c.Close()
	}
}
