#!/bin/sh
# trim.sh [PREFIX]: take out of a virtual environment what a finished image has no use for, and make the rest the same
# whenever it is built: bytecode that is not compared with the time of its source, and one time for every file.
set -eu
prefix=${1:-/opt/nightscribe}
packages=$prefix/lib/python3.11/site-packages

# scripts of other packages, and headers
rm -rf "$packages/torch/include"
find "$prefix/bin" -type f ! -name nightscribe -delete
# botocore describes 400 services, of which these are called: the queue, buckets, and what credentials come from
if [ -d "$packages/botocore/data" ]; then
  find "$packages/botocore/data" -mindepth 1 -maxdepth 1 -type d \
    ! -name sqs ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -rf {} +
fi
find "$packages" -depth -type d \( -name tests -o -name __pycache__ \) -exec rm -rf {} +
find "$packages" -type f \( -name '*.pyi' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' -o -name '*.a' \) -delete
# Some packages bring files that are for other versions of Python only.
python -m compileall -qq -j 0 --invalidation-mode unchecked-hash "$packages" || true
find "$prefix" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-1767225600}" {} +
