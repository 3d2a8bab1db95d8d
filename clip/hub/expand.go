package hub

import (
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

const onWindows = runtime.GOOS == "windows"

// expand expands a path of the environment as huggingface_hub does, by Python's
// os.path.expanduser and then os.path.expandvars.
func expand(path string) string { return expandVariables(expandUser(path), onWindows) }

// The variables in a path (posixpath.py, ntpath.py). On Windows they may also lie
// between percent signs. There a doubled $ or % stands for one, and text between
// single quotes stays as it is.
var (
	posixVariables   = regexp.MustCompile(`\$(?:[0-9A-Za-z_]+|\{[^}]*\})`)
	windowsVariables = regexp.MustCompile(`'[^']*'?|%(?:%|[^%]*%?)|\$(?:\$|[-0-9A-Za-z_]+|\{[^}]*\}?)`)
)

// expandVariables replaces the variables that are set. Others stay as they are
// written, because a $ may be part of a folder's name.
func expandVariables(path string, windows bool) string {
	variables := posixVariables
	if windows {
		variables = windowsVariables
	}
	return variables.ReplaceAllStringFunc(path, func(s string) string {
		if s == "%%" || s == "$$" {
			return s[1:]
		}
		name := strings.Trim(s, "%")
		if dollar, ok := strings.CutPrefix(s, "$"); ok {
			name = strings.TrimSuffix(strings.TrimPrefix(dollar, "{"), "}")
		}
		if value, ok := os.LookupEnv(name); ok && isWhole(s) {
			return value
		}
		return s
	})
}

// isWhole tells whether a match is a variable: not quoted text, and not one whose
// closing sign is missing.
func isWhole(s string) bool {
	switch {
	case s[0] == '%':
		return len(s) > 1 && strings.HasSuffix(s, "%")
	case strings.HasPrefix(s, "${"):
		return strings.HasSuffix(s, "}")
	}
	return s[0] == '$'
}

// expandUser replaces ~ by the user's folder and ~name by that of another, where
// there is one.
func expandUser(path string) string {
	rest, ok := strings.CutPrefix(path, "~")
	if !ok {
		return path
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < 0x80 && os.IsPathSeparator(uint8(r)) })
	if end < 0 {
		end = len(rest)
	}
	var home string
	var err error
	if name := rest[:end]; name == "" {
		home, err = userHome()
	} else if other, unknown := user.Lookup(name); unknown == nil {
		home = other.HomeDir
	} else {
		err = unknown
	}
	if err != nil {
		return path
	}
	return filepath.Join(home, rest[end:])
}

// userHome is HOME or, without it, the folder that the system knows.
func userHome() (string, error) {
	home, err := os.UserHomeDir()
	if err == nil {
		return home, nil
	}
	if u, unknown := user.Current(); unknown == nil && u.HomeDir != "" {
		return u.HomeDir, nil
	}
	return "", err
}
