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
	connect(l *link, r connectRequest) (code byte)
	welcome(l *link) // CONNACK is written
	subscribe(l *link, filters []subscription) error
	subscribed(l *link) // SUBACK is written
	unsubscribe(l *link, filters []string) error
	publish(l *link, p publication) error
	acknowledged(l *link, id uint16)
	breach(l *link, sentence string) error
	ended(l *link, why string) // called once for every connection, even one that said nothing

	// These are called with the cloud's lock held.
	dismiss(l *link, why string) // ends a session and its connection
	dropAll(why string)          // ends every session, and leaves the connections to the caller
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
