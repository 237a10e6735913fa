# git: init, commits, branches, merge, clone, gc, fsck.
# Limit: 240 s
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example
export GIT_CONFIG_GLOBAL=/tmp/gitconfig
git config --global safe.directory '*'
git config --global init.defaultBranch main
git init -q work
cd work
cp -r /usr/share/perl5/$(scaled Git .) tree 2>/dev/null || cp -r /usr/lib/git-core/mergetools tree
git add -A
git commit -q -m first
git checkout -q -b other
for i in $(seq $(scaled 5 30)); do echo "$i" >>tree/numbers; git add -A; git commit -q -m "number $i"; done
git checkout -q main
echo main >only-main; git add -A; git commit -q -m "on main"
git merge -q -m merged other
git status --porcelain | (! grep .)
cd ..
git clone -q --no-hardlinks work clone
git -C clone fsck --full --strict
git clone -q --bare work bare.git
git -C bare.git gc -q --aggressive
git -C bare.git fsck --full
git -C clone push -q ../bare.git main:pushed
same "$(git -C "$DIR2/bare.git" rev-parse pushed)" "$(git -C work rev-parse main)"
diff -r -x .git work "$DIR2/clone"
