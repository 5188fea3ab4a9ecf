package main

import (
	"crypto/x509"
	"fmt"
	"sync"

	"giantlizard.example/failover/textfile"
	"giantlizard.example/failover/transport"
)

// An authorities is the CA file, which is read again at each dial: a root certificate may be replaced while the device runs. While the
// file cannot be used, what was read last goes on to count.
type authorities struct {
	file string

	mu     sync.Mutex
	warn   func(error) // nil while there is nobody to tell
	pool   *x509.CertPool
	failed bool // reading failed the last time, and that was told
}

// openAuthorities reads the file for the first time.
func openAuthorities(file string) (*authorities, error) {
	pool, err := transport.RootsFromFile(file)
	if err != nil {
		return nil, fileError("ca-file", file, err)
	}
	return &authorities{file: file, pool: pool}, nil
}

// roots are the certificates to trust now.
func (a *authorities) roots() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if textfile.OnlyOnce(a.file) { // the shell's pipe has been read
		return a.pool
	}
	pool, err := transport.RootsFromFile(a.file)
	if err != nil {
		a.tell(fmt.Errorf("%w; the certificates that were read before still count", fileError("ca-file", a.file, err)))
		return a.pool
	}
	a.pool, a.failed = pool, false
	return pool
}

func (a *authorities) tell(err error) {
	if !a.failed && a.warn != nil {
		a.warn(err)
	}
	a.failed = true
}

// reportTo has warnings go to warn from now on. It may be called on nil.
func (a *authorities) reportTo(warn func(error)) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.warn = warn
}
