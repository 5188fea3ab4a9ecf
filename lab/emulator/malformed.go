package emulator

// The faults of the bytes that an endpoint sends.
const (
	GarbageCONNACK Fault = "garbage-connack"
	Garbage        Fault = "garbage"
	Truncated      Fault = "truncated"
	Oversize       Fault = "oversize"
	EndlessLength  Fault = "endless-length"
	SUBACKRefused  Fault = "suback-refused"
	SUBACKLong     Fault = "suback-long"
)

// malformedFaults send malformed bytes after CONNACK, or at once on existing connections.
var malformedFaults = []Fault{Garbage, Truncated, Oversize, EndlessLength}

const garbageSize = 32 // size of the garbage in bytes

// garbagePacket returns a complete packet of type 15, which MQTT 3.1.1 reserves, so that no client
// waits for the rest of it.
func (c *Cloud) garbagePacket() []byte {
	bytes := []byte{0xf0, garbageSize - 2}
	for len(bytes) < garbageSize {
		bytes = append(bytes, byte(c.config.Rand.Uint32()))
	}
	return bytes
}

// sendMalformed writes the bytes of a fault and reports whether the connection must end after them.
func (c *Cloud) sendMalformed(conn *connection, fault Fault) (ends bool) {
	switch fault {
	case Garbage:
		_, _ = conn.Write(c.garbagePacket())
	case Truncated:
		_, _ = conn.Write([]byte("\x30\x64\x00\x40$iothub"))
		return true
	case Oversize:
		_, _ = conn.Write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f})
	case EndlessLength:
		_, _ = conn.Write([]byte{0x30, 0xff, 0xff, 0xff, 0xff, 0x7f})
	}
	return false
}

// afterCONNACK sends malformed bytes, if such a fault is active.
func (f *frontend) afterCONNACK(conn *connection) {
	conn.connackWritten = true
	for _, fault := range malformedFaults {
		if f.cloud.triggered(fault, f.faults) != nil && f.cloud.sendMalformed(conn, fault) {
			f.endpoint.closeSession(conn, "cut in the middle of a packet")
			return
		}
	}
}

// sendMalformedToAll sends the malformed bytes of a fault on existing connections.
func (f *frontend) sendMalformedToAll(fault Fault) {
	for _, conn := range f.sortedConnections() {
		if !conn.connackWritten || conn.isEnding() {
			continue
		}
		if f.cloud.triggered(fault, f.faults) != nil && f.cloud.sendMalformed(conn, fault) {
			f.endpoint.closeSession(conn, "cut in the middle of a packet")
		}
	}
}

// A subackFault is a change of a SUBACK.
type subackFault int

const (
	subackCorrect subackFault = iota
	subackRefuses
	subackLong
)

// decideSUBACK sets the fault for the SUBACK of the SUBSCRIBE that is being read.
func (c *Cloud) decideSUBACK(conn *connection, at ...faultSet) subackFault {
	switch {
	case c.triggered(SUBACKRefused, at...) != nil:
		conn.subackFault = subackRefuses
	case c.triggered(SUBACKLong, at...) != nil:
		conn.subackFault = subackLong
	default:
		conn.subackFault = subackCorrect
	}
	return conn.subackFault
}

// apply returns the return codes of a SUBACK as the fault changes them.
func (s subackFault) apply(codes []byte) []byte {
	switch s {
	case subackRefuses:
		for i := range codes {
			codes[i] = 0x80
		}
	case subackLong:
		codes = append(codes, 1, 1, 1)
	}
	return codes
}
