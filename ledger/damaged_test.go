package ledger_test

import (
	"slices"
	"strings"
	"testing"

	"giantlizard.example/failover/ledger"
)

func TestDamagedLinesAreSkippedAndCounted(t *testing.T) {
	const a, b, c = `{"messageId":"e-1"}`, `{"messageId":"e-2","properties":{"x":"{"}}`, `{"messageId":"e-3"}`
	all := []string{"e-1", "e-2", "e-3"}
	for name, x := range map[string]struct {
		text    string
		ids     []string
		damaged uint64
	}{
		"none":                              {a + "\n" + b + "\n" + c + "\n", all, 0},
		"without the last end":              {a + "\n" + b + "\n" + c, all, 0},
		"half a line at the end":            {a + "\n" + b + "\n" + c[:9], all[:2], 1},
		"half a line in the middle":         {a + "\n" + b[:20] + "\n" + c + "\n", []string{"e-1", "e-3"}, 1},
		"half a line before another":        {a + "\n" + b[:20] + c + "\n", []string{"e-1", "e-3"}, 1},
		"half a line at the beginning":      {a[:5] + "\n" + b + "\n" + c, all[1:], 1},
		"half a line before two":            {a[:5] + b + "\n" + c, all[1:], 1},
		"cut in a text":                     {a[:len(a)-3] + "\n" + b + "\n" + c, all[1:], 1},
		"zero bytes":                        {a + "\n\x00\x00\x00\x00\n" + b + "\n" + c, all, 1},
		"a brace before a value":            {a + "\n{" + b + "\n" + c, all, 1},
		"zero bytes before a value":         {a + "\n\x00\x00" + b + "\n" + c, all, 1},
		"another text":                      {"hello\n" + a + "\nworld\n" + b + "\n" + c, all, 2},
		"nothing but that":                  {"hello\n", nil, 1},
		"empty lines after it":              {"hello\n\n\n" + a + "\n\n", all[:1], 1},
		"a long line":                       {strings.Repeat("x", 5<<20) + "\n" + a, all[:1], 1},
		"values on one line":                {a + b + "x\n" + c, all, 1},
		"many braces":                       {strings.Repeat("{", 100_000) + "\n" + a, all[:1], 1},
		"a list, and a list that is broken": {"[" + a + "," + b + "]\n[" + c + "\n", all, 1},
	} {
		received := ledger.ReadReceipts(strings.NewReader(x.text))
		var ids []string
		for r := range received.All() {
			ids = append(ids, r.MessageID)
		}
		if err := received.Err(); err != nil || !slices.Equal(ids, x.ids) || received.Damaged() != x.damaged {
			t.Errorf("%s: %v, %d damaged, %v; want %v, %d", name, ids, received.Damaged(), err, x.ids, x.damaged)
		}
	}
}

func TestReceiptsEndWhenNoMoreAreWanted(t *testing.T) {
	for _, text := range []string{`{"messageId":"1"}` + "\n" + `{"messageId":"2"}`,
		"x\n" + `{"messageId":"1"}{"messageId":"2"}`} {
		n := 0
		for range ledger.ReadReceipts(strings.NewReader(text)).All() {
			n++
			break
		}
		if n != 1 {
			t.Errorf("%d receipts of %q", n, text)
		}
	}
}
