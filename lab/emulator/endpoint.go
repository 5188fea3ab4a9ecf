package emulator

import "time"

// CONNACK's return codes.
const (
	accepted           byte = 0
	refusedVersion     byte = 1
	refusedUnavailable byte = 3
	refusedMalformed   byte = 4
	refusedCredentials byte = 5
	unanswered         byte = 0xff // close without CONNACK
)

// maximumIdle is where IoT Hub caps the time after which a silent client is dropped: azure-docs
// iot/iot-mqtt-connect-to-iot-hub.md.
const maximumIdle = 1767 * time.Second

// An endpoint is what a connection talks to: DPS or a hub. Its methods lock the cloud; an error ends the connection.
type endpoint interface {
	connect(conn *connection, r connectRequest) (code byte)
	connackWritten(conn *connection) // CONNACK is written
	subscribe(conn *connection, filters []subscription) error
	subackWritten(conn *connection) // SUBACK is written
	unsubscribe(conn *connection, filters []string) error
	publish(conn *connection, p publication) error
	acknowledged(conn *connection, id uint16)
	violation(conn *connection, sentence string) error
	connectionEnded(conn *connection, why string) // called once for every connection, even one that said nothing

	// These are called with the cloud's lock held.
	closeSession(conn *connection, why string) // ends a session and its connection
	endSessions(why string)                    // ends every session, and leaves the connections to the caller
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
