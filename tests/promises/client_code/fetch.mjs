// Ask for one address with Node's own fetch, and print what it answers. Runs inside the container.
try {
    const answer = await fetch(process.argv[2]);
    console.log(await answer.text());
    process.exit(answer.ok ? 0 : 1);
} catch (error) {
    console.log("failed:", error.cause?.code, error.cause?.message);
    process.exit(1);
}
