// fxcc SECONDS FILE...: compiles HLSL as wgpu has Microsoft's FXC do it (d3dcompiler_47.dll, shader model 5.1). It fails
// where FXC refuses a file or takes more CPU time for one than so many seconds. FXCC_EACH=1 in the environment lists all.
#define COBJMACROS
#include <d3dcompiler.h>
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

static double cpu_seconds(void) {
	FILETIME none, user;
	GetProcessTimes(GetCurrentProcess(), &none, &none, &none, &user);
	return (user.dwHighDateTime * 4294967296.0 + user.dwLowDateTime) / 1e7;
}

static char *read_file(const char *path, size_t *size) {
	FILE *file = fopen(path, "rb");
	if (!file) {
		return NULL;
	}
	fseek(file, 0, SEEK_END);
	*size = ftell(file);
	rewind(file);
	char *text = malloc(*size);
	*size = fread(text, 1, *size, file);
	fclose(file);
	return text;
}

// compiled tells whether FXC takes the file within so many seconds.
static int compiled(pD3DCompile compile, const char *path, double limit, double *seconds) {
	size_t size = 0;
	char *text = read_file(path, &size);
	ID3DBlob *code = NULL, *message = NULL;
	double start = cpu_seconds();
	HRESULT result = text ? compile(text, size, path, NULL, NULL, "main", "cs_5_1", D3DCOMPILE_ENABLE_STRICTNESS, 0, &code, &message) : E_FAIL;
	*seconds = cpu_seconds() - start;
	int good = SUCCEEDED(result) && *seconds <= limit;
	if (!good) {
		printf("FAIL %s after %.2f s of %.2f s: %.400s\n", path, *seconds, limit,
			SUCCEEDED(result) ? "too slow" : message ? (char *)ID3D10Blob_GetBufferPointer(message) : "cannot be read");
	} else if (getenv("FXCC_EACH")) {
		printf("%.2f s %s\n", *seconds, path);
	}
	fflush(stdout);
	if (code) {
		ID3D10Blob_Release(code);
	}
	free(text);
	return good;
}

int main(int argc, char **argv) {
	HMODULE library = LoadLibraryA("d3dcompiler_47.dll");
	pD3DCompile compile = library ? (pD3DCompile)(void *)GetProcAddress(library, "D3DCompile") : NULL;
	if (!compile || argc < 3) {
		fprintf(stderr, "usage: fxcc SECONDS FILE..., beside d3dcompiler_47.dll\n");
		return 2;
	}
	double limit = atof(argv[1]), seconds, all = 0, slowest = 0;
	int good = 0;
	for (int i = 2; i < argc; i++) {
		good += compiled(compile, argv[i], limit, &seconds);
		all += seconds;
		slowest = seconds > slowest ? seconds : slowest;
	}
	printf("FXC: %d of %d kernels in %.1f s, the slowest in %.2f s\n", good, argc - 2, all, slowest);
	return good != argc - 2;
}
