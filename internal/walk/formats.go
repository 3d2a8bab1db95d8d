package walk

// Extensions are those of files that a folder is searched for.
var Extensions = []string{".apng", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

// others are those of pictures that cannot be read, with the names of
// their formats.
var others = map[string]string{
	".avif": "AVIF", ".avifs": "AVIF",
	".heic": "HEIC", ".heics": "HEIC", ".heif": "HEIF", ".heifs": "HEIF", ".hif": "HEIF",
	".jp2": "JPEG 2000", ".j2k": "JPEG 2000", ".j2c": "JPEG 2000", ".jpc": "JPEG 2000", ".jpf": "JPEG 2000", ".jpx": "JPEG 2000",
	".jxl": "JPEG XL", ".jxr": "JPEG XR", ".wdp": "JPEG XR", ".hdp": "JPEG XR",
	".3fr": "raw", ".arw": "raw", ".cr2": "raw", ".cr3": "raw", ".crw": "raw", ".dng": "raw", ".erf": "raw", ".fff": "raw",
	".iiq": "raw", ".kdc": "raw", ".mef": "raw", ".mos": "raw", ".mrw": "raw", ".nef": "raw", ".nrw": "raw", ".orf": "raw",
	".pef": "raw", ".raf": "raw", ".raw": "raw", ".rw2": "raw", ".rwl": "raw", ".sr2": "raw", ".srf": "raw", ".srw": "raw", ".x3f": "raw",
	".dib": "DIB", ".dds": "DDS", ".exr": "OpenEXR", ".hdr": "Radiance", ".ico": "icon", ".pcx": "PCX", ".psd": "Photoshop", ".psb": "Photoshop",
	".pbm": "Netpbm", ".pgm": "Netpbm", ".ppm": "Netpbm", ".pnm": "Netpbm", ".pam": "Netpbm", ".qoi": "QOI", ".svg": "SVG", ".svgz": "SVG",
	".tga": "TGA", ".xcf": "GIMP",
}
