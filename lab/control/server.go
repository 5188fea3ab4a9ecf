// Package control is the emulator's HTTPS door, for operators and their tools: those routes of IoT Central's REST API that look at
// a device, command it and move it to another hub, and the lizard's API, which strikes with faults and heals them.
//
// Whoever comes in has the door's token, which is made anew at each start and written to a file that only its owner may read.
package control

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

const (
	maximumHeader = 64 << 10 // bytes
	maximumBody   = 1 << 20  // bytes
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	idleTimeout   = time.Minute
	writeTimeout  = longestConnect + longestResponse + readTimeout // the longest a request may take
)

// A Config says what a Door opens to. Its zero value, with a Cloud, is a good one.
type Config struct {
	Cloud *emulator.Cloud
	// Listen opens an address; nil means real TCP.
	Listen func(address string) (net.Listener, error)
	// Host is how clients reach the door: 127.0.0.1 if empty. Port is any that is free if zero.
	Host string
	Port int
	// ListenHost is the address to listen on: Host if empty.
	ListenHost string
}

// A Server is open. Its methods may be called from any goroutine.
type Server struct {
	cloud          *emulator.Cloud
	host           string // by which it is reached
	url, token     string
	application    *application
	server         *http.Server
	running        sync.WaitGroup // the goroutine that accepts
	connections    sync.WaitGroup
	cancelRequests context.CancelFunc // ends the requests under way

	mu          sync.Mutex
	controlFile string // what Announce has written
}

// Start opens a door to a cloud. Close it before the cloud.
func Start(config Config) (*Server, error) {
	if config.Host == "" {
		config.Host = "127.0.0.1"
	}
	if config.Listen == nil {
		config.Listen = func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	if config.ListenHost == "" {
		config.ListenHost = config.Host
	}
	listener, err := config.Listen(net.JoinHostPort(config.ListenHost, strconv.Itoa(config.Port)))
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("control: %w", err)
	}
	s := newServer(config.Cloud, config.Host)
	s.url = "https://" + net.JoinHostPort(config.Host, port)
	s.serve(listener)
	return s, nil
}

// newDoor makes one that does not listen yet.
func newServer(cloud *emulator.Cloud, host string) *Server {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // it never fails
	return &Server{cloud: cloud, host: host, token: hex.EncodeToString(secret[:]), application: newApplication(cloud)}
}

func (s *Server) serve(listener net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancelRequests = cancel
	s.server = &http.Server{
		Handler:           s.handler(),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{s.cloud.Certificate()}, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maximumHeader,
		BaseContext:    func(net.Listener) context.Context { return ctx },
		ConnState:      s.trackConnection,
		ErrorLog:       log.New(io.Discard, "", 0), // it would tell of every client that does not trust the certificate
		Protocols:      new(http.Protocols),
	}
	s.server.Protocols.SetHTTP1(true) // a request is then served by its connection's goroutine, which Close waits for
	s.running.Go(func() { _ = s.server.ServeTLS(listener, "", "") })
}

// count is told of every connection twice, at its beginning and its end.
func (s *Server) trackConnection(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.connections.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.connections.Done()
	}
}

// URL is the door's address, and Token what opens it.
func (s *Server) URL() string   { return s.url }
func (s *Server) Token() string { return s.token }

// Port is the door's port.
func (s *Server) Port() string {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.url, "https://"))
	return port
}

// Close removes the file of Announce, ends every connection and waits for every goroutine. A second Close does nothing.
func (s *Server) Close() error {
	err := s.removeFile()
	s.cancelRequests()
	err = errors.Join(err, s.server.Close())
	s.running.Wait()
	_ = s.server.Close() // a connection may have come in meanwhile
	s.connections.Wait()
	if err != nil {
		return fmt.Errorf("control: close: %w", err)
	}
	return nil
}
