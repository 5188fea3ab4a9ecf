package emulator

import "errors"

// A swallower is a listener that can let connection requests vanish, as lab/memnet's can.
type blackHoler interface{ SetBlackHole(bool) }

var errNoBlackHole = errors.New("this network cannot swallow connection requests; lab/memnet and TCP on Linux can")

// blackHole answers no connection request any more, not even with a refusal.
func (f *frontend) startBlackHole() error {
	if f.blackHole != nil {
		return nil
	}
	if err := f.listen(); err != nil {
		return err
	}
	if s, ok := f.listener.(blackHoler); ok {
		s.SetBlackHole(true)
		f.blackHole = closer(func() error { s.SetBlackHole(false); return nil })
		return nil
	}
	hole, err := openBlackHole(f.listener)
	if _, refuses := f.listener.(portHolder); err != nil && refuses { // openHole may have begun
		f.accepting = false
		return errors.Join(err, f.listen())
	}
	if err != nil {
		return err
	}
	f.blackHole, f.accepting = hole, false
	return nil
}

// fill ends a black hole.
func (f *frontend) endBlackHole() {
	if f.blackHole != nil {
		_ = f.blackHole.Close()
		f.blackHole = nil
	}
}

type closer func() error

func (c closer) Close() error { return c() }
