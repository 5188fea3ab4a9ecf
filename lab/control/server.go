// Package control is the emulator's control API, over HTTPS, for operators and their tools. It has
// the routes of IoT Central's REST API that show a device, command it and move it to another hub,
// and the lizard's API, which injects and clears faults and streams the messages of devices.
//
// Each request needs the token of the control API. Each start makes a new token and writes it to
// the control file, which only its owner may read.
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
	maximumHeader = 64 << 10 // bytes of the headers
	maximumBody   = 1 << 20  // bytes of the body
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	idleTimeout   = time.Minute
	writeTimeout  = longestConnect + longestResponse + readTimeout // the longest time that a request may take
)

// A Config configures a Server. Only Cloud is required.
type Config struct {
	Cloud *emulator.Cloud
	// Listen opens a listener on an address. Nil means real TCP.
	Listen func(address string) (net.Listener, error)
	// Host is the host by which clients reach the server. Empty means 127.0.0.1.
	Host string
	// Port is the port of the server. Zero means any free port.
	Port int
	// ListenHost is the address to listen on. Empty means Host.
	ListenHost string
}

// A Server serves the control API of one cloud. Its methods may be called from any goroutine.
type Server struct {
	cloud          *emulator.Cloud
	host           string // host by which clients reach the server
	url, token     string
	application    *application
	server         *http.Server
	running        sync.WaitGroup // counts the goroutines that serve starts
	connections    sync.WaitGroup
	cancelRequests context.CancelFunc // cancels the contexts of all requests

	mu          sync.Mutex
	controlFile string // path of the file that WriteFile has written; "" means none
}

// Start starts a server. The caller must Close it before the cloud.
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

// newServer returns a server that does not listen yet.
func newServer(cloud *emulator.Cloud, host string) *Server {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // crypto/rand never fails
	return &Server{cloud: cloud, host: host, token: hex.EncodeToString(secret[:]), application: newApplication(cloud)}
}

func (s *Server) serve(listener net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancelRequests = cancel
	s.server = &http.Server{
		Handler: s.handler(),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{s.cloud.Certificate()},
			MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maximumHeader,
		BaseContext:    func(net.Listener) context.Context { return ctx },
		ConnState:      s.trackConnection,
		// the log would report each client that does not trust the certificate
		ErrorLog:  log.New(io.Discard, "", 0),
		Protocols: new(http.Protocols),
	}
	// With HTTP/1, the goroutine of a connection serves its requests, so that Close can wait for
	// them.
	s.server.Protocols.SetHTTP1(true)
	s.running.Go(func() { _ = s.server.ServeTLS(listener, "", "") })
	s.running.Go(func() { s.application.followTelemetry(ctx) })
}

// trackConnection counts open connections. It is called at the beginning and at the end of each
// connection.
func (s *Server) trackConnection(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.connections.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.connections.Done()
	}
}

// URL returns the address of the server, and Token the token that requests need.
func (s *Server) URL() string   { return s.url }
func (s *Server) Token() string { return s.token }

// Port returns the port of the server.
func (s *Server) Port() string {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.url, "https://"))
	return port
}

// Close removes the file of WriteFile, ends all connections and waits for all goroutines. A second
// Close does nothing.
func (s *Server) Close() error {
	err := s.removeFile()
	s.cancelRequests()
	err = errors.Join(err, s.server.Close())
	s.running.Wait()
	_ = s.server.Close() // close connections that were accepted meanwhile
	s.connections.Wait()
	if err != nil {
		return fmt.Errorf("control: close: %w", err)
	}
	return nil
}
