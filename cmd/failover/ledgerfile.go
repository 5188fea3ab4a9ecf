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
	written int  // how many messages
	torn    bool // the file ends in the middle of a line
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

// open begins to write what a cloud has stored, and from now on stores, to a file. With "" nothing is written.
func (l *ledgerFile) open(name string, cloud *emulator.Cloud) error {
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	l.file, l.torn = f, endsMidLine(f)
	l.cloud.Store(cloud) // after the file, which whoever follows an event looks at next
	return nil
}

// endsMidLine reports whether the last line of a file has no end, as a process that was killed may leave it.
func endsMidLine(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	last := []byte{0}
	_, err = f.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
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
	if cloud == nil || l.file == nil {
		return nil
	}
	for _, d := range cloud.Ledger()[l.written:] {
		line := ledgerLine{d.Device, d.Hub, d.MessageID, d.Received.UTC(), d.Properties, d.Body}
		if err := l.append(line); err != nil {
			return err
		}
		l.written++
	}
	return nil
}

// append writes a line. A full disk may take only a part of it, which is cut off again.
func (l *ledgerFile) append(line ledgerLine) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if l.torn {
		text = append([]byte{'\n'}, text...)
	}
	n, err := l.file.Write(text)
	if err == nil {
		l.torn = false
		return nil
	}
	if n == 0 {
		return err
	}
	l.torn = true
	if info, failure := l.file.Stat(); failure == nil && l.file.Truncate(info.Size()-int64(n)) == nil {
		l.torn = endsMidLine(l.file)
	}
	return err
}

// close writes the rest, once the cloud is closed.
func (l *ledgerFile) close() {
	if l.file != nil {
		_ = l.write() // an error was told at the event
		l.file.Close()
	}
}
