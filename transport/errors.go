package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// A Reason says in one stable word why a session ended or never began. It is an error, so that
// errors.Is(err, transport.Silence) answers the question; records and metrics carry it as it is.
type Reason string

// The reasons, in the order in which they can strike.
const (
	NameNotFound        Reason = "name-not-found" // DNS does not know the host
	Unreachable         Reason = "unreachable"    // no route to the host
	ConnectionRefused   Reason = "refused"        // nobody listens there
	TimedOut            Reason = "timed-out"      // dial, TLS and CONNACK took too long together
	TLSFailed           Reason = "tls"            // certificate, protocol version or alert
	ServerUnavailable   Reason = "connack-3"      // the hub is unavailable or throttles
	BadCredentials      Reason = "connack-4"      // malformed user name or password
	NotAuthorized       Reason = "connack-5"      // token, device unknown, disabled, or moved: MQTT cannot say which
	ConnectRejected     Reason = "connack"        // any other code
	SubscriptionRefused Reason = "subscription"   // SUBACK 0x80
	Closed              Reason = "closed"         // the peer closed the connection (FIN)
	Reset               Reason = "reset"          // the peer reset the connection (RST)
	Silence             Reason = "silence"        // nothing was read for Config.Silence: a half-open link
	WriteStalled        Reason = "write-stalled"  // the peer took no bytes for Config.WriteTimeout
	AckOverdue          Reason = "ack-overdue"    // a publish has had no acknowledgement for long, on a link that lives
	ProtocolBroken      Reason = "protocol"       // what came was not MQTT
	ClosedLocally       Reason = "ended"          // this side ended the session
	KeyUnusable         Reason = "key"            // the key could not be read, so no token could be made
	Unknown             Reason = "unknown"        // none of these
)

func (r Reason) Error() string { return string(r) }

// An Error is why a session ended or never began.
type Error struct {
	Reason Reason
	Host   string
	Err    error // the underlying error, may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("transport: %s: %s", e.Host, e.Reason)
	}
	return fmt.Sprintf("transport: %s: %s: %v", e.Host, e.Reason, e.Err)
}

// Unwrap lets errors.Is and errors.As see the reason and the underlying error.
func (e *Error) Unwrap() []error { return []error{e.Reason, e.Err} }

// ReasonOf is the reason inside err, or Unknown.
func ReasonOf(err error) Reason {
	var r Reason
	if errors.As(err, &r) {
		return r
	}
	return Unknown
}

// numbers are what an operating system's error means. The large ones are Windows', which Go does not translate.
var numbers = map[syscall.Errno]Reason{
	syscall.ECONNREFUSED: ConnectionRefused, 10061: ConnectionRefused,
	syscall.ECONNRESET: Reset, 10054: Reset, syscall.EPIPE: Reset, syscall.ECONNABORTED: Reset, 10053: Reset,
	syscall.ENETUNREACH: Unreachable, 10051: Unreachable, syscall.EHOSTUNREACH: Unreachable, 10065: Unreachable,
	syscall.ETIMEDOUT: TimedOut, 10060: TimedOut,
}

// reasonFor names what a failing dial, handshake or read means.
func reasonFor(err error) Reason {
	var (
		reason Reason
		number syscall.Errno
		dns    *net.DNSError
	)
	switch {
	case errors.As(err, &reason):
		return reason
	case errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed):
		return ClosedLocally
	case isTimeout(err):
		return TimedOut
	case errors.As(err, &dns):
		return NameNotFound
	case errors.As(err, &number) && numbers[number] != "":
		return numbers[number]
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Closed
	case isTLS(err):
		return TLSFailed
	}
	return Unknown
}

// isTimeout holds for deadlines, contexts', DNS's and the operating system's alike.
func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

func isTLS(err error) bool {
	var alert *net.OpError // how crypto/tls tells one, on either side
	if errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error") {
		return true
	}
	var (
		record  tls.RecordHeaderError
		certify *tls.CertificateVerificationError
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
	)
	return errors.As(err, &record) || errors.As(err, &certify) ||
		errors.As(err, &name) || errors.As(err, &unknown) || errors.As(err, &invalid)
}

// connackReason is the reason for a CONNACK return code (MQTT 3.1.1, 3.2.2.3).
func connackReason(code byte) Reason {
	switch code {
	case packets.ErrRefusedServerUnavailable:
		return ServerUnavailable
	case packets.ErrRefusedBadUsernameOrPassword:
		return BadCredentials
	case packets.ErrRefusedNotAuthorised:
		return NotAuthorized
	}
	return ConnectRejected
}
