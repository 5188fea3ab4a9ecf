package emulator

// notesLimit is the largest number of different notes that are emitted. It bounds the memory that
// notes need.
const notesLimit = 10_000

// note emits a note that a client did something that the documents do not describe and that the
// emulator accepts, because no report says that the service refuses it. Each sentence is emitted
// once for each device at each endpoint, so that a client does not fill the log. The subject of
// the sentence is the device. It is called with c.mu held.
func (c *Cloud) note(where, device string, sentences ...string) {
	for _, sentence := range sentences {
		key := [3]string{where, device, sentence}
		if c.noted[key] || len(c.noted) == notesLimit {
			continue
		}
		c.noted[key] = true
		at := where
		if where != "DPS" && where != "" {
			at = "hub " + where
		}
		if at != "" {
			at = " at " + at
		}
		c.emit(KindNote, where, device, "%s%s %s", device, at, sentence)
	}
}
