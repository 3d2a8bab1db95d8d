//go:build heic

package walk

import "slices"

// Programs with this tag read these, too.
func init() {
	for _, extension := range []string{".avif", ".avifs", ".heic", ".heif", ".hif"} {
		delete(others, extension)
		Extensions = append(Extensions, extension)
	}
	slices.Sort(Extensions)
}
