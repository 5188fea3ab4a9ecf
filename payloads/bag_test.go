package payloads

import (
	"reflect"
	"strings"
	"testing"
)

func TestBagIsPercentEncoded(t *testing.T) {
	for name, c := range map[string]struct {
		bag  bag
		want string
	}{
		"nothing":                            {nil, ""},
		"a dollar becomes %24":               {bag{{Name: "$.mid", Value: "a"}}, "%24.mid=a"},
		"a space becomes %20, never +":       {bag{{Name: "a b", Value: "c d"}}, "a%20b=c%20d"},
		"a plus becomes %2B":                 {bag{{Name: "k", Value: "1+1"}}, "k=1%2B1"},
		"separators in a value are encoded":  {bag{{Name: "k", Value: "a=b&c/d%e?f#g"}}, "k=a%3Db%26c%2Fd%25e%3Ff%23g"},
		"text beyond ASCII is encoded UTF-8": {bag{{Name: "k", Value: "zürich"}}, "k=z%C3%BCrich"},
		"letters, digits and -._~ stay":      {bag{{Name: "aZ09", Value: "-._~"}}, "aZ09=-._~"},
		"null stands alone, empty has its =": {bag{{Name: "n", Null: true}, {Name: "e"}}, "n&e="},
		"the order is kept, doubles are kept": {bag{{Name: "b", Value: "1"}, {Name: "a", Value: "2"},
			{Name: "b", Value: "3"}}, "b=1&a=2&b=3"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(c.bag.appendTo(nil)); got != c.want {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			back, err := parseBag(c.want)
			if err != nil || !reflect.DeepEqual(back, c.bag) {
				t.Fatalf("read back as %v, %v", back, err)
			}
		})
	}
}

func TestBagIsReadAsTheHubWritesIt(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want bag
	}{
		"a plus is a plus": {"k=a+b", bag{{Name: "k", Value: "a+b"}}},
		"an encoded & does not split": {
			"k=a%26b%3Dc&d=e", bag{{Name: "k", Value: "a&b=c"}, {Name: "d", Value: "e"}},
		},
		"only the first = separates":       {"k=a=b", bag{{Name: "k", Value: "a=b"}}},
		"a plain dollar is as good as %24": {"$.mid=1", bag{{Name: "$.mid", Value: "1"}}},
		"null, empty and value are distinct": {"n&e=&v=1",
			bag{{Name: "n", Null: true}, {Name: "e"}, {Name: "v", Value: "1"}}},
		"an empty part counts for nothing": {"&a=1&&b=2&", bag{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseBag(c.text)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got %v, %v, want %v", got, err, c.want)
			}
		})
	}
}

func TestPropertyThatCannotBeDecodedIsKeptAndNamed(t *testing.T) {
	for text, want := range map[string]bag{
		"a=%20&note=100%":  {{Name: "a", Value: " "}, {Name: "note", Value: "100%"}},
		"k=%zz&b=%C3%BC":   {{Name: "k", Value: "%zz"}, {Name: "b", Value: "ü"}},
		"k=%2&n":           {{Name: "k", Value: "%2"}, {Name: "n", Null: true}},
		"%=%41":            {{Name: "%", Value: "A"}},
		"k=%ff":            {{Name: "k", Value: "%ff"}},
		"%ff=%31&b=2":      {{Name: "%ff", Value: "1"}, {Name: "b", Value: "2"}},
		"=value&b=2":       {{Name: "", Value: "value"}, {Name: "b", Value: "2"}},
		"?%=1&b=2":         {{Name: "%", Value: "1"}, {Name: "b", Value: "2"}},
		"=":                {{}},
		"\xff=1&%24.mid=m": {{Name: "\xff", Value: "1"}, {Name: "$.mid", Value: "m"}},
	} {
		got, err := parseBag(text)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q was read as %+v, want %+v", text, got, want)
		}
		if err == nil {
			t.Errorf("%q: nothing is named", text)
		}
	}
	if _, err := parseBag("a=1&note=100%&b=2"); err == nil || !strings.Contains(err.Error(), `"note=100%"`) {
		t.Errorf("the error is %v", err)
	}
}

func TestBagMayFollowAQuestionMark(t *testing.T) {
	got, err := parseBag("?%24.mid=1&b=?")
	if want := (bag{{Name: "$.mid", Value: "1"}, {Name: "b", Value: "?"}}); err != nil ||
		!reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestErrorAboutABagIsShort(t *testing.T) {
	for count, more := range map[int]bool{1: false, 3: false, 4: true} {
		_, err := parseBag(strings.Repeat("=x&", count))
		if err == nil || strings.Count(err.Error(), "has no name") != min(count, 3) ||
			strings.Contains(err.Error(), "; and 1 more") != more {
			t.Errorf("of %d faults the error is %v", count, err)
		}
	}
	bag, err := parseBag(strings.Repeat("%&", 30_000))
	if err == nil || len(err.Error()) > 500 || !strings.Contains(err.Error(), "and 29997 more") || len(bag) != 30_000 {
		t.Errorf("%d properties, and the error is %.600v", len(bag), err)
	}
}

func TestGetReturnsTheFirstPropertyWithAName(t *testing.T) {
	b := bag{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}, {Name: "n", Null: true}}
	if v, ok := b.get("a"); v != "1" || !ok {
		t.Errorf("a is %q, %v", v, ok)
	}
	if v, ok := b.get("n"); v != "" || !ok {
		t.Errorf("n is %q, %v", v, ok)
	}
	if _, ok := b.get("A"); ok {
		t.Error("names must be compared with case")
	}
}
