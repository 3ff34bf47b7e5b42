package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
)

// fields are the members of a JSON object that are read.
//
// Names are matched exactly, as the official clients do; encoding/json would
// take "accesstoken" for "accessToken". Of members with one name the last
// counts, and one that is null is as absent.
type fields []field

type field struct {
	name string
	into any    // *string, *[]string, *json.Number, or the fields of an object
	raw  []byte // the value as it came
}

// wrongType is the error of a member that is not of its field's type.
type wrongType string

func (name wrongType) Error() string { return "its member " + string(name) + " has the wrong type" }

// read reads an object out of well-formed JSON. Of members that are of a wrong
// type, which are left empty, it returns the first.
func (fs fields) read(data []byte) error {
	data = bytes.TrimSpace(data)
	switch {
	case string(data) == "null":
		return nil
	case data[0] != '{':
		return errors.New("it is not a JSON object")
	}
	for name, value := range members(data) {
		for i := range fs {
			if string(name) == fs[i].name && string(value) != "null" {
				fs[i].raw = value
			}
		}
	}
	var wrong error
	for _, f := range fs {
		if name := f.read(); name != "" && wrong == nil {
			wrong = wrongType(name)
		}
	}
	return wrong
}

// read reads a field that is there. It returns the name of what has the wrong
// type.
func (f *field) read() (wrong string) {
	if f.raw == nil {
		return ""
	}
	switch into := f.into.(type) {
	case *string:
		if isPlain(f.raw) {
			*into = string(f.raw[1 : len(f.raw)-1])
			return ""
		}
	case fields:
		switch err := into.read(f.raw).(type) {
		case nil:
			return ""
		case wrongType:
			return f.name + "." + string(err)
		}
		return f.name
	}
	if json.Unmarshal(f.raw, f.into) != nil {
		return f.name
	}
	return ""
}

// isPlain reports whether a value is a string that is written as it is.
func isPlain(value []byte) bool {
	if value[0] != '"' {
		return false
	}
	for _, b := range value {
		if b == '\\' || b > '~' {
			return false
		}
	}
	return true
}

// members yields the names and values of an object in well-formed JSON.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for rest := object[1:]; ; {
			var name, value []byte
			if name, rest = cutValue(rest); name == nil {
				return
			}
			value, rest = cutValue(rest)
			if !yield(unquote(name), value) {
				return
			}
		}
	}
}

// unquote returns the text of a string.
func unquote(value []byte) []byte {
	if bytes.IndexByte(value, '\\') < 0 {
		return value[1 : len(value)-1]
	}
	var s string
	json.Unmarshal(value, &s)
	return []byte(s)
}

// cutValue cuts the next string, number, object or other value off the inside
// of an object in well-formed JSON. It returns nil at the object's end.
func cutValue(s []byte) (value, rest []byte) {
	s = bytes.TrimLeft(s, " \t\r\n,:")
	end := 0
	switch s[0] {
	case '}':
		return nil, nil
	case '"':
		end = stringEnd(s)
	case '{', '[':
		end = bracketEnd(s)
	default:
		end = bytes.IndexAny(s, " \t\r\n,}")
	}
	return s[:end], s[end:]
}

// stringEnd returns the length of the string that s begins with.
func stringEnd(s []byte) int {
	for i := 1; ; i += 2 { // past what a backslash escapes
		i += bytes.IndexAny(s[i:], `"\`)
		if s[i] == '"' {
			return i + 1
		}
	}
}

// bracketEnd returns the length of the object or list that s begins with.
func bracketEnd(s []byte) int {
	for i, depth := 0, 0; ; i++ {
		switch s[i] {
		case '"':
			i += stringEnd(s[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}
