//go:build !nolab

package main

import (
	"encoding/json"
	"os"
	"sync/atomic"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A ledgerFile is what the emulator's hubs have stored, one message a line, for `failover ledger` and whoever else judges.
type ledgerFile struct {
	file    *os.File // nil: none is wanted
	cloud   atomic.Pointer[emulator.Cloud]
	written int
}

// A ledgerLine is one message.
type ledgerLine struct {
	Device     string            `json:"device"`
	Hub        string            `json:"hub"`
	MessageID  string            `json:"messageId"`
	Received   time.Time         `json:"received"`
	Properties map[string]string `json:"properties"`
	Body       []byte            `json:"body"` // base64: a device may send anything
}

func openLedger(name string) (*ledgerFile, error) {
	if name == "" {
		return &ledgerFile{}, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &ledgerFile{file: f}, err
}

// follow writes what has been stored since. The events come one after another.
func (l *ledgerFile) follow(e emulator.Event) error {
	if e.Kind != emulator.KindTelemetry {
		return nil
	}
	return l.write()
}

func (l *ledgerFile) write() error {
	cloud := l.cloud.Load()
	if l.file == nil || cloud == nil {
		return nil
	}
	out := json.NewEncoder(l.file)
	for _, d := range cloud.Ledger()[l.written:] {
		line := ledgerLine{d.Device, d.Hub, d.MessageID, d.Received.UTC(), d.Properties, d.Body}
		if err := out.Encode(line); err != nil {
			return err
		}
		l.written++
	}
	return nil
}

// close writes the rest, once the cloud is closed.
func (l *ledgerFile) close() {
	if l.file != nil {
		_ = l.write() // an error was told at the event
		l.file.Close()
	}
}
