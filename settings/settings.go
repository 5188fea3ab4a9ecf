// Package settings has what the settings of all packages share: an error that names a field, and
// defaults of zero fields.
package settings

import (
	"errors"
	"fmt"
	"reflect"
	"time"
)

// A FieldError says which field of a settings struct is wrong, and why.
type FieldError struct {
	Field string // the path to the field, such as "Delivery.Window"
	Err   error  // what is wrong, such as "is 20000: at most 10000"
}

func (e *FieldError) Error() string { return fmt.Sprintf("%s %v", e.Field, e.Err) }

func (e *FieldError) Unwrap() error { return e.Err }

// Wrong returns a *FieldError. The format and its arguments continue the sentence that begins with
// the field.
func Wrong(field, format string, args ...any) error {
	return &FieldError{field, fmt.Errorf(format, args...)}
}

// In puts the name of the group that holds the fields before the field of each *FieldError in err,
// an error of errors.Join. It returns nil for nil.
func In(group string, err error) error {
	switch e := any(err).(type) { // each error of the tree is looked at by itself
	case nil:
		return nil
	case *FieldError:
		return &FieldError{group + "." + e.Field, e.Err}
	case interface{ Unwrap() []error }:
		var all []error
		for _, one := range e.Unwrap() {
			all = append(all, In(group, one))
		}
		return errors.Join(all...)
	}
	return err
}

// All returns the *FieldErrors in err, an error that wraps those of errors.Join, in order.
func All(err error) []*FieldError {
	switch e := any(err).(type) { // each error of the tree is looked at by itself
	case *FieldError:
		return []*FieldError{e}
	case interface{ Unwrap() []error }:
		var all []*FieldError
		for _, one := range e.Unwrap() {
			all = append(all, All(one)...)
		}
		return all
	case interface{ Unwrap() error }:
		return All(e.Unwrap())
	}
	return nil
}

// MaxDuration is ten years. Code may multiply a checked duration by a small number without overflow.
const MaxDuration = 10 * 365 * 24 * time.Hour

// Duration returns a *FieldError if a duration is negative or longer than MaxDuration.
func Duration(field string, d time.Duration) error {
	switch {
	case d < 0:
		return Wrong(field, "is %s: it must not be negative", d)
	case d > MaxDuration:
		return Wrong(field, "is %s: at most %s", d, MaxDuration)
	}
	return nil
}

// Default sets a field to its default value if the field is zero. Functions and maps are zero if they are nil.
func Default[T any](field *T, value T) {
	if reflect.ValueOf(field).Elem().IsZero() {
		*field = value
	}
}
