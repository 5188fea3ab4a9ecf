package emulator

import "time"

// The return codes of CONNACK.
const (
	accepted           byte = 0
	refusedVersion     byte = 1
	refusedUnavailable byte = 3
	refusedMalformed   byte = 4
	refusedCredentials byte = 5
	unanswered         byte = 0xff // no code of MQTT: close the connection without CONNACK
)

// maximumIdle is the longest time for which a client may be silent, whatever its keep-alive:
// azure-docs iot/iot-mqtt-connect-to-iot-hub.md.
const maximumIdle = 1767 * time.Second

// An endpoint is DPS or a hub. Its methods lock the cloud, except where noted. An error ends the
// connection.
type endpoint interface {
	connect(conn *connection, r connectRequest) (code byte)
	connackWritten(conn *connection) // called after CONNACK was written
	subscribe(conn *connection, filters []subscription) error
	subackWritten(conn *connection) // called after SUBACK was written
	unsubscribe(conn *connection, filters []string) error
	publish(conn *connection, p publication) error
	acknowledged(conn *connection, id uint16)
	violation(r refusal, conn *connection, sentence string) error
	connectionEnded(conn *connection, why string) // called once for every connection, also without CONNECT

	// The caller holds the cloud's lock.
	closeSession(conn *connection, why string) // ends a session and closes its connection
	endSessions(why string)                    // ends all sessions; the caller closes the connections
}

type connectRequest struct {
	clientID, username, password string
	clean                        bool
	will                         *publication
}

type subscription struct {
	filter string
	qos    byte
}

type publication struct {
	topic          string
	payload        []byte
	qos            byte
	id             uint16
	retain, resent bool
}
