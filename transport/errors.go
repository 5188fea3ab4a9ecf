package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// A Reason says in one stable word why a session ended or did not begin. It is an error, so that
// errors.Is(err, transport.Silence) works. Records and metrics carry the word.
type Reason string

// The reasons, in the order in which they can occur.
const (
	NameNotFound      Reason = "name-not-found" // DNS does not know the host, or the host or its port is malformed
	Unreachable       Reason = "unreachable"    // there is no route to the host
	ConnectionRefused Reason = "refused"        // nobody listens on the port
	TimedOut          Reason = "timed-out"      // dial, TLS or CONNACK took too long
	TLSFailed         Reason = "tls"            // TLS failed: certificate, protocol version or alert
	ServerUnavailable Reason = "connack-3"      // the hub is unavailable or throttles
	BadCredentials    Reason = "connack-4"      // user name or password are malformed
	// token wrong, device unknown, disabled or moved: MQTT cannot say which
	NotAuthorized       Reason = "connack-5"
	ConnectRejected     Reason = "connack"       // CONNACK with any other code that refuses the session
	SubscriptionRefused Reason = "subscription"  // the hub refused a filter (SUBACK 0x80)
	Closed              Reason = "closed"        // the peer closed the connection (FIN)
	Reset               Reason = "reset"         // the peer reset the connection (RST)
	Silence             Reason = "silence"       // nothing was read for Link.Silence: the connection is half-open
	WriteStalled        Reason = "write-stalled" // the peer read nothing for Link.WriteTimeout
	AckOverdue          Reason = "ack-overdue"   // the peer answers pings but does not acknowledge a message
	ProtocolBroken      Reason = "protocol"      // the peer broke the rules of MQTT, or sent a packet above 1 MiB
	ClosedLocally       Reason = "ended"         // this side ended the session
	KeyUnusable         Reason = "key"           // the key could not be read, so that there is no token
	Unknown             Reason = "unknown"       // none of the other reasons
)

func (r Reason) Error() string { return string(r) }

// An Error says why a session ended or did not begin.
type Error struct {
	Reason Reason
	Host   string
	// Stalled is whether the peer accepted the TCP connection and then took too long for TLS or CONNACK, as it does
	// on a slow network.
	Stalled bool
	Err     error // the underlying error, may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("transport: %s: %s", e.Host, e.Reason)
	}
	return fmt.Sprintf("transport: %s: %s: %v", e.Host, e.Reason, e.Err)
}

// Unwrap lets errors.Is and errors.As see the reason and the underlying error.
func (e *Error) Unwrap() []error { return []error{e.Reason, e.Err} }

// ReasonOf returns the reason in err, or Unknown.
func ReasonOf(err error) Reason {
	if r, ok := errors.AsType[Reason](err); ok {
		return r
	}
	return Unknown
}

// errnoReasons maps the error numbers of operating systems to reasons. The numbers from 10000 are
// those of Windows, which Go does not translate.
var errnoReasons = map[syscall.Errno]Reason{
	syscall.ECONNREFUSED: ConnectionRefused, 10061: ConnectionRefused,
	syscall.ECONNRESET: Reset, 10054: Reset, syscall.EPIPE: Reset, syscall.ECONNABORTED: Reset, 10053: Reset,
	syscall.ENETUNREACH: Unreachable, 10051: Unreachable, syscall.EHOSTUNREACH: Unreachable, 10065: Unreachable,
	syscall.ETIMEDOUT: TimedOut, 10060: TimedOut,
}

// connackReasons maps return codes of CONNACK to reasons; every other code that refuses the
// session means ConnectRejected. Source: MQTT 3.1.1, 3.2.2.3
var connackReasons = map[byte]Reason{
	packets.ErrRefusedServerUnavailable:     ServerUnavailable,
	packets.ErrRefusedBadUsernameOrPassword: BadCredentials,
	packets.ErrRefusedNotAuthorised:         NotAuthorized,
}

// reasonFor returns the reason of an error of a dial, a handshake, a read or a write.
func reasonFor(err error) Reason {
	reason, hasReason := errors.AsType[Reason](err)
	errno, _ := errors.AsType[syscall.Errno](err)
	_, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case hasReason:
		return reason
	case errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed):
		return ClosedLocally
	case isTimeout(err):
		return TimedOut
	case isDNS:
		return NameNotFound
	case errnoReasons[errno] != "":
		return errnoReasons[errno]
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Closed
	case isTLS(err):
		return TLSFailed
	}
	return Unknown
}

// isTimeout reports whether a deadline, a context, DNS or the operating system has timed out.
func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && t.Timeout()
}

// isTLS reports whether crypto/tls has received or sent an alert, or read bytes that are no TLS
// record. Other errors of a handshake, such as a bad certificate, are left to dial.
func isTLS(err error) bool {
	op, isOp := errors.AsType[*net.OpError](err)
	_, isRecord := errors.AsType[tls.RecordHeaderError](err)
	return isRecord || isOp && (op.Op == "remote error" || op.Op == "local error")
}
