#!/bin/bash
# check_reference.sh <source> <output>: doxygen makes the reference of the interface and has nothing to say about it;
# and it does complain where something public has no documentation.
set -euo pipefail

source=$1 output=$2
for tool in doxygen python3; do
  command -v $tool > /dev/null || { echo "skipped: $tool is not installed, which makes the reference"; exit 77; }
done
rm -rf "$output"
"$source/docs/doxygen/make.sh" "$source" "$output/reference"
for page in classvmm_1_1Host structvmm_1_1GuestOptions c_8h; do
  [[ -s $output/reference/html/$page.html ]] || { echo "the reference has no $page.html"; exit 1; }
done

# The same of a copy, in which one option, one function of vmm/c.h and one member that it takes from C++ are changed.
refuses() {
  local file=$1 change=$2 expected=$3
  rm -rf "$output/copy"
  mkdir -p "$output/copy"
  cp -r --parents "$source/docs/doxygen" "$source/include" "$source/CMakeLists.txt" "$output/copy"
  sed -i "$change" "$output/copy$source/include/vmm/$file"
  if "$source/docs/doxygen/make.sh" "$output/copy$source" "$output/copy/reference" 2> "$output/copy/said"; then
    echo "doxygen is content with $file after $change"
    exit 1
  fi
  grep -q "$expected" "$output/copy/said" || { cat "$output/copy/said"; echo "it does not say $expected"; exit 1; }
}
refuses options.h 's|^struct GuestOptions {|&\n  int unheard_of = 0;|' 'unheard_of.* is not documented'
refuses c.h 's|^VMM_API int vmm_guest_rehome|VMM_API int vmm_guest_unheard_of(void);\n&|' 'vmm::Guest::unheard_of'
refuses options.h '/std::string share_salt/ s/share_salt/salt/' 'vmm::GuestOptions::share_salt'
echo "the reference is complete"
