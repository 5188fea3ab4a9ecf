// Package settings is shared by the settings of all packages. It has an error that names a field of
// a settings struct, and gives zero fields their defaults.
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
	Err   error  // reason why the value is wrong, such as "is 20000: at most 10000"
}

func (e *FieldError) Error() string { return fmt.Sprintf("%s %v", e.Field, e.Err) }

func (e *FieldError) Unwrap() error { return e.Err }

// Wrong returns a *FieldError. The text made from format and args follows the name of the field and
// completes a sentence, such as "Window is 20000: at most 10000".
func Wrong(field, format string, args ...any) error {
	return &FieldError{field, fmt.Errorf(format, args...)}
}

// In returns err with group and a dot put before the field of each *FieldError, where group is the
// name of the struct that holds the fields. err may be a single error or the result of errors.Join.
// If err is nil, In returns nil.
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

// All returns the *FieldErrors in err, in order. It finds them also in joined and wrapped errors.
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

// MaxDuration is the longest duration that Duration accepts, ten years. Code may multiply an
// accepted duration by a small number without overflow.
const MaxDuration = 10 * 365 * 24 * time.Hour

// Duration checks d, the value of a field. It returns a *FieldError if d is negative or longer than
// MaxDuration.
func Duration(field string, d time.Duration) error {
	switch {
	case d < 0:
		return Wrong(field, "is %s: it must not be negative", d)
	case d > MaxDuration:
		return Wrong(field, "is %s: at most %s", d, MaxDuration)
	}
	return nil
}

// Durations checks every duration of a settings struct as Duration does, and joins the errors.
func Durations(s any) error {
	var errs []error
	v := reflect.ValueOf(s)
	for field, value := range v.Fields() {
		if d, ok := value.Interface().(time.Duration); ok {
			errs = append(errs, Duration(field.Name, d))
		}
	}
	return errors.Join(errs...)
}

// Default sets a field to its default value if the field is zero. Functions and maps are zero if they are nil.
func Default[T any](field *T, value T) {
	if reflect.ValueOf(field).Elem().IsZero() {
		*field = value
	}
}
