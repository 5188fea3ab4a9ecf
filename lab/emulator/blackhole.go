package emulator

import "errors"

// A swallower is a listener that can let connection requests vanish, as lab/memnet's can.
type swallower interface{ Swallow(bool) }

var errNoBlackHole = errors.New("this network cannot swallow connection requests; lab/memnet and TCP on Linux can")

// blackHole answers no connection request any more, not even with a refusal.
func (d *door) blackHole() error {
	if d.hole != nil {
		return nil
	}
	if err := d.open(); err != nil {
		return err
	}
	if s, ok := d.listener.(swallower); ok {
		s.Swallow(true)
		d.hole = closer(func() error { s.Swallow(false); return nil })
		return nil
	}
	hole, err := openHole(d.listener)
	if _, refuses := d.listener.(refuser); err != nil && refuses { // openHole may have begun
		d.listens = false
		return errors.Join(err, d.open())
	}
	if err != nil {
		return err
	}
	d.hole, d.listens = hole, false
	return nil
}

// fill ends a black hole.
func (d *door) fill() {
	if d.hole != nil {
		_ = d.hole.Close()
		d.hole = nil
	}
}

type closer func() error

func (c closer) Close() error { return c() }
