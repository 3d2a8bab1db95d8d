package preprocess

import "errors"

// Errors that callers may branch on. Every error of this package wraps one of
// them, but for two kinds. Errors of opening and reading a file are the system's.
// "internal error, please report it" means that a decoder or transform panicked.
// That is a defect of this program, not of the file. No panic leaves this package.
var (
	// ErrUnsupportedFormat: the bytes are no image in a format read here, or use
	// a feature of the format that is not.
	ErrUnsupportedFormat = errors.New("unsupported image format")
	// ErrTooLarge: the file or the image its header announces is over the limit.
	ErrTooLarge = errors.New("image too large")
	// ErrCorrupt: the format is known but the data are damaged or cut short.
	ErrCorrupt = errors.New("corrupt image")
	// ErrInvalidConfig: a Config has a value that open_clip would not take.
	ErrInvalidConfig = errors.New("invalid preprocess config")
	// ErrShape: an image without pixels, one too elongated to be resized, or a
	// destination of the wrong length.
	ErrShape = errors.New("bad image shape")
)
