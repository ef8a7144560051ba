# The controller's image. Tags here are for building at home: the release pipeline pins both bases by digest (SECURITY.md).
FROM node:24-trixie-slim AS build
WORKDIR /source
COPY package.json package-lock.json .npmrc ./
# Install scripts stay off. The `node` package, which brings Node 24 to older machines by such a script, isn't needed here.
RUN npm ci --ignore-scripts --no-audit --no-fund
# What .dockerignore lets in: the sources, and nothing else of the work tree.
COPY . .
RUN node build/bundle.mjs

# No shell, no package manager, no npm: Node, its libraries and one file of ours. Runs as 65532.
FROM gcr.io/distroless/nodejs24-debian13:nonroot
COPY LICENSE /licenses/LICENSE
COPY --from=build /source/dist/THIRD-PARTY-NOTICES.txt /licenses/
# Named .mjs, since no package.json beside it says that it is a module.
COPY --from=build --chown=0:0 --chmod=0444 /source/dist/sealwright-controller.js /app/sealwright-controller.mjs
# Nobody may be able to write the directory that it runs in.
WORKDIR /
ENV NODE_ENV=production
EXPOSE 8080 8081
# --disable-proto: a parsed `__proto__` key reaches nothing (T71). --disallow-code-generation-from-strings: no eval, no
# new Function. --no-addons: no native code but Node's own. Node's crash reports and heap snapshots, which would hold
# secrets, are off by default; a NODE_OPTIONS from outside could turn them on, so who may edit the pod spec is trusted.
ENTRYPOINT ["/nodejs/bin/node", "--disable-proto=delete", "--disallow-code-generation-from-strings", "--no-addons", "/app/sealwright-controller.mjs"]
