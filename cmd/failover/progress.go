//go:build !nolab

package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A progress prints the current step of a command: on a terminal in one line that changes, elsewhere
// as one line every 30 seconds.
type progress struct {
	out  io.Writer
	mu   sync.Mutex
	last time.Time
}

func (p *progress) show(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text = escaped(text)
	switch {
	case isTerminal(p.out):
		fmt.Fprintf(p.out, "\r\x1b[K%s", text)
	case time.Since(p.last) > 30*time.Second:
		fmt.Fprintln(p.out, text)
		p.last = time.Now()
	}
}

func (p *progress) clear() {
	if isTerminal(p.out) {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
