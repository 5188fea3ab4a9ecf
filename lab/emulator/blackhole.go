package emulator

import "errors"

// A blackHoler is a listener that can ignore connection requests. The listener of lab/memnet is one.
type blackHoler interface{ SetBlackHole(bool) }

var errNoBlackHole = errors.New("this network cannot ignore connection requests; lab/memnet and TCP on Linux can")

// startBlackHole makes the endpoint ignore all connection requests: the endpoint neither accepts nor
// refuses a connection.
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
	if _, refuses := f.listener.(portHolder); err != nil && refuses { // openBlackHole may have stopped listening
		f.accepting = false
		return errors.Join(err, f.listen())
	}
	if err != nil {
		return err
	}
	f.blackHole, f.accepting = hole, false
	return nil
}

// endBlackHole ends the black hole, if there is one. The endpoint then refuses connections until
// listen is called.
func (f *frontend) endBlackHole() {
	if f.blackHole != nil {
		_ = f.blackHole.Close()
		f.blackHole = nil
	}
}

type closer func() error

func (c closer) Close() error { return c() }
