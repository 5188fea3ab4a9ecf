//go:build unix

package drill_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/drill"
	"giantlizard.example/failover/lab/scenario"
)

// The keys have all characters that are written differently in different forms of base64 and in URLs.
var (
	ownKey   = base64.StdEncoding.EncodeToString([]byte("\xfb\xff\xbe own key of 32 bytes, a secret"))
	otherKey = base64.StdEncoding.EncodeToString([]byte("\xfb\xff\xbe other key with 32 bytes here"))
)

// ranCommand returns how a shell command ended that finds ownKey in its environment.
func ranCommand(t *testing.T, line string) drill.Usage {
	t.Helper()
	p := place()
	p.DeviceKey = ownKey
	r, err := drill.Command{Line: line}.Start(p)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.Ended():
	case <-time.After(20 * time.Second):
		t.Error("it does not end")
	}
	return r.Stop(t.Context())
}

func TestLastLinesOfBothStreamsAreKeptInOrder(t *testing.T) {
	u := ranCommand(t, `for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
	echo "out $n"; echo "err $n" >&2; echo
done; printf end`)
	want := []string{"err 6"}
	for _, n := range []string{"7", "8", "9", "10", "11", "12", "13", "14", "15"} {
		want = append(want, "out "+n, "err "+n)
	}
	if want = append(want, "end"); !slices.Equal(u.Output, want) {
		t.Errorf("%q", u.Output)
	}
}

func TestOutputIsSafeToPrintAndShort(t *testing.T) {
	u := ranCommand(t, `printf '\033[31mred\007\tat x\r\n\377 \342\200\256 ü <b>\n'; echo `+strings.Repeat("x", 700))
	want := []string{`\x1b[31mred\a    at x`, "\uFFFD " + `\u202e` + " ü <b>",
		strings.Repeat("x", 400) + "... (300 more characters)"}
	if !slices.Equal(u.Output, want) {
		t.Errorf("%q", u.Output)
	}
}

func TestNoKeyIsInTheOutput(t *testing.T) {
	for _, key := range []string{ownKey, otherKey} {
		raw, _ := base64.StdEncoding.DecodeString(key)
		for name, secret := range map[string]string{
			"base64": key, "percent-encoded": url.QueryEscape(key), "hexadecimal": hex.EncodeToString(raw),
			"upper case": strings.ToUpper(hex.EncodeToString(raw)), "for URLs": base64.URLEncoding.EncodeToString(raw),
			"for URLs, without padding": base64.RawURLEncoding.EncodeToString(raw),
		} {
			var lines strings.Builder
			for _, before := range []string{
				"", "key: ", "FAILOVER_DEVICE_KEY=", `{"primaryKey":"`, "x;SharedAccessKey=",
				"SharedAccessSignature sr=hub%2Fdevices%2Fdev1&sig=", strings.Repeat("y ", 90),
			} {
				lines.WriteString("echo '" + before + secret + "'; echo '" + before + secret + "\" is wrong'\n")
			}
			u := ranCommand(t, lines.String())
			if text := strings.Join(u.Output, "\n"); strings.Contains(text, secret[4:20]) || len(u.Output) != 14 {
				t.Errorf("%s:\n%s", name, text)
			}
		}
	}
	const path = "Error: cannot open /usr/lib/node_modules/azure-iot-device-mqtt/dist/lib/Mqtt2.js"
	u := ranCommand(t, `echo "$IOTHUB_DEVICE_DPS_DEVICE_KEY"; echo "`+path+`"`)
	if !slices.Equal(u.Output, []string{"(a secret)", path}) {
		t.Errorf("%q", u.Output)
	}
}

func TestEndOfACommandIsNamed(t *testing.T) {
	for line, want := range map[string]string{
		"exit 3":                     "with exit code 3",
		"true":                       "with exit code 0",
		"sh -c 'kill -s SEGV $$'":    "with exit code 139, which means signal 11 (segmentation fault)",
		"kill -s KILL $$; sleep 100": "by signal 9 (killed)",
	} {
		u := ranCommand(t, line)
		form := regexp.MustCompile(`^ended by itself after [0-9]+\.[0-9] s ` + regexp.QuoteMeta(want) + "$")
		if !form.MatchString(u.Died) {
			t.Errorf("%s: %q, want %q", line, u.Died, want)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestClientGoesOnWhenItsLogCannotBeWritten(t *testing.T) {
	r, err := drill.Command{Line: "echo one; echo two; exit 3", Output: brokenWriter{}}.Start(place())
	if err != nil {
		t.Fatal(err)
	}
	<-r.Ended()
	u := r.Stop(t.Context())
	if text := strings.Join(u.Output, "\n"); !strings.Contains(u.Died, "exit code 3") ||
		!strings.HasSuffix(text, "one\ntwo") || !strings.Contains(text, "the disk is full") {
		t.Errorf("%s, %q", u.Died, u.Output)
	}
}

// A real process in front of real sockets: its exit code and its words are in each form of the card, and no key is.
func TestCardShowsTheExitCodeAndTheLastOutput(t *testing.T) {
	s := parse(t, "# Nothing happens.\nexpect recovery 5s\nend 1m")
	begin := time.Now()
	d := drill.Drill{
		Client: drill.Command{
			Line: `echo "my key is $FAILOVER_DEVICE_KEY"; echo "<b>Error</b>: no broker" >&2; exit 3`},
		Name: "SharedAccessKey=" + otherKey + " node device.js", DeviceID: "dev1", Interval: time.Second,
		Scenarios: []scenario.Scenario{s, s},
	}
	r, err := d.Run(t.Context())
	if err != nil || len(r.Cards) != 2 {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("it took %s", took)
	}
	text, page := strings.Join(cardLines(t, r), "\n"), new(strings.Builder)
	encoded, err := json.Marshal(r)
	if err = errors.Join(err, r.WritePage(page)); err != nil {
		t.Fatal(err)
	}
	for form, wants := range map[string][]string{
		text: {
			"test: MISSED 2. Nothing happens.\nThe client ended by itself after ",
			" s with exit code 3: <b>Error</b>: no broker\n",
			"  the client's last output:\n    my key is (a secret)\n",
		},
		page.String(): {
			"<h1>Report card: SharedAccessKey=(a secret) node device.js</h1>",
			"with exit code 3: &lt;b&gt;Error&lt;/b&gt;: no broker</p>",
			"<pre>my key is (a secret)\n&lt;b&gt;Error&lt;/b&gt;: no broker\n</pre>",
		},
		string(encoded): {
			`"client":"SharedAccessKey=(a secret) node device.js"`,
			`"output":["my key is (a secret)","\u003cb\u003eError\u003c/b\u003e: no broker"]`,
		},
	} {
		for _, want := range wants {
			if !strings.Contains(form, want) {
				t.Errorf("there is no %q in\n%s", want, form)
			}
		}
	}
}
