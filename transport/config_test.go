package transport_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/settings"
	"giantlizard.example/failover/transport"
)

// timesOf returns the times of a Link: ConnectTimeout, KeepAlive, Silence and WriteTimeout.
func timesOf(l transport.Link) [4]time.Duration {
	return [4]time.Duration{l.ConnectTimeout, l.KeepAlive, l.Silence, l.WriteTimeout}
}

func TestALinkHasDefaults(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		link transport.Link
		want [4]time.Duration
	}{
		"zero": {transport.Link{}, [4]time.Duration{5 * s, 6 * s, 12 * s, 10 * s}},
		"only KeepAlive": {
			transport.Link{KeepAlive: 30 * s}, [4]time.Duration{5 * s, 30 * s, 60 * s, 10 * s},
		},
		"only a short Silence": {transport.Link{Silence: 9 * s}, [4]time.Duration{5 * s, 4 * s, 9 * s, 10 * s}},
		"only a very short Silence": {
			transport.Link{Silence: 3 * s / 2}, [4]time.Duration{5 * s, s, 3 * s / 2, 10 * s},
		},
		"only a long Silence": {transport.Link{Silence: 60 * s}, [4]time.Duration{5 * s, 6 * s, 60 * s, 10 * s}},
		"all": {
			transport.Link{ConnectTimeout: s, KeepAlive: 2 * s, Silence: 3 * s, WriteTimeout: 4 * s},
			[4]time.Duration{s, 2 * s, 3 * s, 4 * s},
		},
		"negative times, for Check": {
			transport.Link{Silence: -s, WriteTimeout: -s}, [4]time.Duration{5 * s, 6 * s, -s, -s},
		},
	} {
		got := c.link.WithDefaults()
		if timesOf(got) != c.want || got.Now == nil {
			t.Errorf("%s: %v, want %v", name, timesOf(got), c.want)
		}
		if again := got.WithDefaults(); timesOf(again) != timesOf(got) {
			t.Errorf("%s: the defaults of the defaults are %v", name, timesOf(again))
		}
		if name != "negative times, for Check" && (c.link.Check() != nil || got.Check() != nil) {
			t.Errorf("%s: %v, with defaults %v", name, c.link.Check(), got.Check())
		}
	}
}

func TestEachWrongTimeOfALinkIsNamed(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	for _, c := range []struct {
		link  transport.Link
		wrong []string // fields
		says  string
	}{
		{transport.Link{ConnectTimeout: -1}, []string{"ConnectTimeout"}, "negative"},
		{transport.Link{AnswerTimeout: -1}, []string{"AnswerTimeout"}, "negative"},
		{transport.Link{Silence: -1, WriteTimeout: -1}, []string{"Silence", "WriteTimeout"}, "negative"},
		{transport.Link{KeepAlive: -s}, []string{"KeepAlive"}, "from 1s to 19m37s"},
		{transport.Link{KeepAlive: 500 * ms}, []string{"KeepAlive"}, "is 500ms: whole seconds"},
		{transport.Link{KeepAlive: 1500 * ms}, []string{"KeepAlive"}, "whole seconds"},
		{transport.Link{KeepAlive: 1178 * s}, []string{"KeepAlive"}, "is 19m38s"},
		{transport.Link{KeepAlive: s, Silence: s}, []string{"Silence"}, "longer than KeepAlive, which is 1s"},
		{transport.Link{KeepAlive: 7 * s, Silence: 5 * s}, []string{"Silence"}, "is 5s"},
		{transport.Link{Silence: 900 * ms}, []string{"Silence"}, "longer than KeepAlive"},
		{
			transport.Link{ConnectTimeout: math.MaxInt64, Silence: math.MaxInt64, WriteTimeout: math.MaxInt64},
			[]string{"ConnectTimeout", "Silence", "WriteTimeout"}, "is 2562047h47m16.854775807s: at most 87600h0m0s",
		},
		{transport.Link{ConnectTimeout: settings.MaxDuration, Silence: settings.MaxDuration}, nil, ""},
		{transport.Link{KeepAlive: s}, nil, ""},
		{transport.Link{KeepAlive: 1177 * s}, nil, ""},
		{transport.Link{KeepAlive: s, Silence: 1001 * ms}, nil, ""},
		{transport.Link{ConnectTimeout: 1, WriteTimeout: 1}, nil, ""},
	} {
		err := c.link.Check()
		var wrong []string
		for _, e := range settings.All(err) {
			wrong = append(wrong, e.Field)
		}
		if !slices.Equal(wrong, c.wrong) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%v: %v; want %v", timesOf(c.link), err, c.wrong)
		}
	}
}

// The bounds on an attempt and on a ping's answer are multiples of them.
func TestALinkWithTheLongestTimesConnects(t *testing.T) {
	const longest = settings.MaxDuration
	inBubble(t, func(w *world) {
		w.serve(func(p *peer) { p.accept(); p.answerAll() })
		s := w.connect(func(c *transport.Config) {
			c.ConnectTimeout, c.Silence, c.WriteTimeout = longest, longest,
				longest
		})
		time.Sleep(time.Minute)
		if err := s.Cause(); err != nil {
			t.Error(err)
		}
	})
}
