package main

import (
	"crypto/x509"
	"fmt"
	"sync"

	"giantlizard.example/failover/textfile"
	"giantlizard.example/failover/transport"
)

// An authorities reads the CA file again at each dial, because a root certificate may be replaced
// while the device runs. While the file cannot be read, the certificates that were read last stay
// in use.
type authorities struct {
	file string

	mu     sync.Mutex
	warn   func(error) // receives warnings; nil until reportTo is called
	pool   *x509.CertPool
	failed bool // the last read failed, and a warning was given
}

// openAuthorities reads the file for the first time.
func openAuthorities(file string) (*authorities, error) {
	pool, err := transport.RootsFromFile(file)
	if err != nil {
		return nil, fileError("ca-file", file, err)
	}
	return &authorities{file: file, pool: pool}, nil
}

// roots returns the certificates that a dial must trust now.
func (a *authorities) roots() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if textfile.OnlyOnce(a.file) { // the file is a pipe of the shell, which was read at the start
		return a.pool
	}
	pool, err := transport.RootsFromFile(a.file)
	if err != nil {
		err = fileError("ca-file", a.file, err)
		a.reportFailure(fmt.Errorf("%w; the certificates that were read before stay in use", err))
		return a.pool
	}
	a.pool, a.failed = pool, false
	return pool
}

// reportFailure passes on the first error. It passes on another one only after a successful read.
func (a *authorities) reportFailure(err error) {
	if a.failed || a.warn == nil {
		return
	}
	a.warn(err)
	a.failed = true
}

// reportTo passes warnings to warn from now on. On a nil receiver it does nothing.
func (a *authorities) reportTo(warn func(error)) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.warn = warn
}
