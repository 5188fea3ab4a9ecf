package emulator

// What may be wrong with the bytes of an endpoint.
const (
	GarbageCONNACK Fault = "garbage-connack"
	Garbage        Fault = "garbage"
	Truncated      Fault = "truncated"
	Oversize       Fault = "oversize"
	EndlessLength  Fault = "endless-length"
	SUBACKRefused  Fault = "suback-refused"
	SUBACKLong     Fault = "suback-long"
)

// scrawls are what comes behind a CONNACK, or at once for who is connected.
var malformedFaults = []Fault{Garbage, Truncated, Oversize, EndlessLength}

const garbageSize = 32 // bytes

// garbage is a packet of the one type that MQTT 3.1.1 reserves besides 0, so that no client waits for more.
func (c *Cloud) garbagePacket() []byte {
	bytes := []byte{0xf0, garbageSize - 2}
	for len(bytes) < garbageSize {
		bytes = append(bytes, byte(c.config.Rand.Uint32()))
	}
	return bytes
}

// scrawl writes what a fault wants and tells whether the connection must end then.
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

// welcome is the moment behind CONNACK.
func (f *frontend) afterCONNACK(conn *connection) {
	conn.connackWritten = true
	for _, fault := range malformedFaults {
		if f.cloud.triggered(fault, f.faults) != nil && f.cloud.sendMalformed(conn, fault) {
			f.endpoint.closeSession(conn, "cut in the middle of a packet")
			return
		}
	}
}

// scrawlAll begins such a fault for those who are connected.
func (f *frontend) sendMalformedToAll(fault Fault) {
	for _, conn := range f.sortedConnections() {
		if conn.connackWritten && !conn.isEnding() && f.cloud.triggered(fault, f.faults) != nil && f.cloud.sendMalformed(conn, fault) {
			f.endpoint.closeSession(conn, "cut in the middle of a packet")
		}
	}
}

// A subackFault is what is wrong with the SUBACK that is being written.
type subackFault int

const (
	subackCorrect subackFault = iota
	subackRefuses
	subackLong
)

// suback decides about the SUBACK of the SUBSCRIBE that is being read.
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

// of makes the codes wrong.
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
