package emulator

// notesLimit bounds what is remembered of the notes, however many devices connect.
const notesLimit = 10_000

// note records that a client did what the documents do not describe, although nobody has seen the service
// refuse it. The emulator takes it too. Each sentence is told once for each device, so a client that repeats
// itself fills no log. The sentence's subject is the device. It is called with c.mu held.
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
