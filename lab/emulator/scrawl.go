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
var scrawls = []Fault{Garbage, Truncated, Oversize, EndlessLength}

const garbageSize = 32 // bytes

// garbage is a packet of the one type that MQTT 3.1.1 reserves besides 0, so that no client waits for more.
func (c *Cloud) garbage() []byte {
	bytes := []byte{0xf0, garbageSize - 2}
	for len(bytes) < garbageSize {
		bytes = append(bytes, byte(c.config.Rand.Uint32()))
	}
	return bytes
}

// scrawl writes what a fault wants and tells whether the connection must end then.
func (c *Cloud) scrawl(l *link, fault Fault) (ends bool) {
	switch fault {
	case Garbage:
		_, _ = l.Write(c.garbage())
	case Truncated:
		_, _ = l.Write([]byte("\x30\x64\x00\x40$iothub"))
		return true
	case Oversize:
		_, _ = l.Write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f})
	case EndlessLength:
		_, _ = l.Write([]byte{0x30, 0xff, 0xff, 0xff, 0xff, 0x7f})
	}
	return false
}

// welcome is the moment behind CONNACK.
func (d *door) welcome(l *link) {
	l.welcomed = true
	for _, fault := range scrawls {
		if d.cloud.hit(fault, d.faults) != nil && d.cloud.scrawl(l, fault) {
			d.to.dismiss(l, "cut in the middle of a packet")
			return
		}
	}
}

// scrawlAll begins such a fault for those who are connected.
func (d *door) scrawlAll(fault Fault) {
	for _, l := range d.inOrder() {
		if l.welcomed && !l.gone() && d.cloud.hit(fault, d.faults) != nil && d.cloud.scrawl(l, fault) {
			d.to.dismiss(l, "cut in the middle of a packet")
		}
	}
}

// A subackFault is what is wrong with the SUBACK that is being written.
type subackFault int

const (
	subackRight subackFault = iota
	subackRefuses
	subackLong
)

// suback decides about the SUBACK of the SUBSCRIBE that is being read.
func (c *Cloud) suback(l *link, at ...afflictions) subackFault {
	switch {
	case c.hit(SUBACKRefused, at...) != nil:
		l.suback = subackRefuses
	case c.hit(SUBACKLong, at...) != nil:
		l.suback = subackLong
	default:
		l.suback = subackRight
	}
	return l.suback
}

// of makes the codes wrong.
func (s subackFault) of(codes []byte) []byte {
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
